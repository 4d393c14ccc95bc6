//! The smoke test: what it says of sound and of broken models, and that its child is confined.

mod architectures;
mod broken;
mod command;
mod confinement;
mod folder;
mod gate;
mod hostile;
mod sound;
