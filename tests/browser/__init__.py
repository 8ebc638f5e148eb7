"""Tests in a browser: a package, whose end is the end of the one server and browser that they share."""
