//! The files that the project ships beside the module: that they are valid, agree with one another, and that the filter
//! takes its configuration out of each.

mod access_logs;
mod bootstraps;
mod custom_resources;
mod files;
mod istio;
mod kubernetes;
mod prometheus;
mod strict;
