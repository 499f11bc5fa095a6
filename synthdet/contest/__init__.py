"""The contest entry: the rows of a table to one answer each, before a deadline."""
