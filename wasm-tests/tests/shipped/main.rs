//! The files that the project ships with the module: they are valid and agree with one another, and the filter accepts
//! the configuration in each.

mod access_logs;
mod bootstraps;
mod custom_resources;
mod envoy_gateway;
mod files;
mod istio;
mod kubernetes;
mod marks;
mod prometheus;
mod strict;
