"""What contests read and write, one file a format."""
