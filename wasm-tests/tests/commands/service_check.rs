//! `authgate service-check` on the authentication service for local use.

use auth_service::{Options, TokenHash, UserSpec};

/// Runs the command on a service. Returns its output and its exit status.
async fn check(url: String, options: &'static [&'static str]) -> (String, u8) {
    let checked = tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        let arguments = ["authgate", "service-check", &url].into_iter().chain(options.iter().copied());
        let status = authgate::cli::run(arguments, &mut out, false);
        (String::from_utf8(out).unwrap(), status)
    });
    checked.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_service_passes_the_check() {
    let user: UserSpec = "alice:secret".parse().unwrap();
    let options = Options {
        listen: ([127, 0, 0, 1], 0).into(),
        users: vec![user],
        token_hash: TokenHash::Pbkdf2,
        ..Options::default()
    };
    let service = auth_service::start(options).await.unwrap();
    let (printed, status) = check(service.url(), &["--username", "alice", "--password", "secret"]).await;
    assert_eq!(status, 0, "{printed}");
    assert!(printed.ends_with(" 0 note, 0 differs, 0 skipped\n"), "{printed}");
    service.stop().await;
}
