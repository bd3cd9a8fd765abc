//! Checks of the source tree itself. One so far: no file of a crate imports, directly or through others, a file that
//! imports it. Two files in such a cycle can only be read, tested and moved together.
//!
//! [`ImportGraph::of_crate`] reads a crate's files and finds out which file takes a name from which other:
//!
//! - `use` declarations, paths in types, expressions, patterns and macro arguments, and paths in serde's attributes count.
//! - A re-export (`pub use child::Thing`, with any visibility) is followed to the file that defines the name and makes no
//!   import itself. So a module file that declares and re-exports its children takes nothing from them.
//! - A child that names what its parent's file defines imports the parent, and a parent that calls a child's function
//!   imports the child: both together are a cycle.
//! - What is compiled for tests only (`#[cfg(test)]`) is left out.
//!
//! # Not covered
//!
//! Method calls and fields do not show where a method or type is defined: only the names that are written down count.
//! Names that macros generate are not seen.

mod cycle;
mod graph;
mod module;
mod reference;
mod scope;

pub use cycle::cycles;
pub use graph::{ImportGraph, Imports};
pub use module::{ReadError, Sources};
