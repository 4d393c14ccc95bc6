//! The smoke test: what it says of sound and of broken models, and that its child is confined.

mod adapters;
mod architectures;
mod bases;
mod broken;
mod command;
mod confinement;
mod faults;
mod feed;
mod folder;
mod gate;
mod hostile;
mod pages;
mod sound;
mod statistics;
