//! The program `authgate`, as a shell runs it.
#![allow(clippy::unwrap_used, reason = "for tests alone")]

use std::process::{Command, Output};

fn authgate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_authgate"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

#[test]
fn the_exit_status_reports_the_outcome() {
    let fine = authgate(&["check", "--strict", "envoy/envoy.yaml"]);
    assert_eq!((fine.status.code(), text(&fine.stdout)), (Some(0), "1 configuration: 0 errors, 0 warnings\n"));
    let wrong = authgate(&["check", "wasm-tests/fuzz/corpus/configuration/unknown.json"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stdout).contains("unknown.json:1: error: "), "{wrong:?}");
    for arguments in [&[][..], &["check"], &["check", "/nowhere"], &["explain"], &["service-check", "ftp://x"], &["x"]]
    {
        let usage = authgate(arguments);
        assert_eq!(usage.status.code(), Some(2), "{arguments:?}");
        assert!(usage.stdout.is_empty() && !usage.stderr.is_empty(), "{usage:?}");
    }
}

#[test]
fn help_and_version_exit_with_success() {
    assert_eq!(text(&authgate(&["--version"]).stdout), concat!("authgate ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = authgate(&["--help"]);
    for command in ["check", "explain", "schema", "service-check"] {
        assert!(text(&help.stdout).contains(&format!("\n  {command} ")), "{help:?}");
    }
}

#[test]
fn output_to_a_file_has_no_colours() {
    let wrong = authgate(&["check", "wasm-tests/fuzz/corpus/configuration/unknown.json"]);
    assert!(!text(&wrong.stdout).contains('\x1b'), "{wrong:?}");
}
