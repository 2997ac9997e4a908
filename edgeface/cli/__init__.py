"""The command line: parse, call one typed library function, print its result."""
