//! The command line, on the files and the service that it is made for.

mod schema;
mod service_check;
