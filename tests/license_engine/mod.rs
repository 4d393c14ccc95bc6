//! The license engine as a pure function: worked cases, each rule both ways, properties, and the command over files.

mod command;
mod family;
mod graph;
mod inputs;
mod properties;
mod rules;
mod vectors;
mod what_if;
