"""Entry points for other libraries' users: one module for each library, which imports that library."""
