//! Dockerfile text to a spanned syntax tree of typed instructions.
//!
//! [`parse()`] reads a whole file; [`parse_onbuild`] reads one trigger out of a base image's
//! config. Both are pure: they use no files, environment or clock. Text in the tree is as written;
//! [`expand`] replaces variables once the planner knows their values. [`print()`] writes a tree
//! back as a Dockerfile.
//!
//! **Source**: the Dockerfile reference as of Dockerfile frontend 1.20; where it is silent,
//! BuildKit (2026-08) as measured.
//!
//! ```
//! use xbuild_dockerfile::{Instruction, parse};
//!
//! let file = parse("Dockerfile", b"FROM alpine AS base\nRUN echo \\\n  hello\n")?;
//! let stage = &file.stages[0];
//! assert_eq!(stage.from.image, "alpine");
//! assert_eq!(*stage.instructions[0].span.lines.end(), 3);
//! assert!(matches!(stage.instructions[0].value, Instruction::Run(_)));
//! # Ok::<(), xbuild_dockerfile::ParseErrors>(())
//! ```

mod convert;
mod directive;
mod duration;
mod error;
pub mod expand;
mod flags;
mod heredoc;
mod instruction;
mod keyword;
mod line;
mod lines;
mod lint;
mod parse;
mod port;
mod print;
mod run;
mod span;
mod suggest;
mod targets;
mod transfer;
mod words;

pub use error::{CheckError, ExpandError, ParseError, ParseErrorKind, ParseErrors, PortError};
pub use instruction::*;
pub use keyword::Keyword;
pub use lint::{Checks, Diagnostic, Diagnostics, Linter, Rule, lint};
pub use parse::{parse, parse_onbuild};
pub use port::parse_ports;
pub use print::print;
pub use span::{Span, Spanned};
pub use suggest::suggest;
pub use targets::{Target, targets};
