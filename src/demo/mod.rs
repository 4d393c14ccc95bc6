//! The demonstration herd: tiny models trained and derived here, and the pedigree of Llama's real herd.
