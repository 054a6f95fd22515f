"""Side-by-side measurements behind `chunked-vla bench`."""
