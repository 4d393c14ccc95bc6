//! Configuration: command-line options with their environment variables, read once.
