//! The command line, against what it is going to be used on.

mod schema;
mod service_check;
