"""Drawing: curves, bars, tables of pictures, and the page of a data set."""
