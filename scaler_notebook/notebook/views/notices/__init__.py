"""Notices: a word to who looks elsewhere, when what a view shows has ended after a while."""
