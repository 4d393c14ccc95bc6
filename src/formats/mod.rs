//! What is in a weight file, a config, a model card: pure, synchronous, panics on no input.
