"""Files in and out: tables, pictures in worker processes with a clock, and whole writes."""
