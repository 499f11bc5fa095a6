"""Files in and out: tables, images in worker processes with a clock, and whole writes."""
