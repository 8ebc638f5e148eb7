"""Objects that are needed to complete their own class, such as a constant that a method of the class refers to."""
