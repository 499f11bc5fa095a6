"""Copy-moves of one region or several, in photographs and in figures that are drawn."""
