"""Data sets on disk, whatever their layout -> tables of pictures and of samples."""
