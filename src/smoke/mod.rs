//! Does the model run at all: a confined child process loads it, checks it and generates.
