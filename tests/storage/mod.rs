//! One contract for every kind of store, through the server; and what crashes and damage do to it.

mod contract;
mod crash;
mod damage;
