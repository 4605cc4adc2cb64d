//! The service changes its key while JWTs flow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::sync::RwLock;
use wasm_tests::Stack;

const CLIENTS: usize = 4;
const ROTATIONS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn no_valid_token_gets_a_401_during_a_rotation() {
    let interval = json!({"jwt": {"public_key": {"min_refetch_interval": "100ms", "grace": "100ms"}}});
    let stack = Stack::builder().concurrency(2).config(interval).start().await.unwrap();
    let first = stack.login().await.unwrap().access;
    // Each client holds a read lock during its request, and the rotation holds the write lock. So every request has a
    // token of the key that the service serves at that time.
    let stack = Arc::new(RwLock::new((stack, first.clone())));
    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));

    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (stack, done, answered) = (Arc::clone(&stack), Arc::clone(&done), Arc::clone(&answered));
        clients.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                let shared = stack.read().await;
                let (stack, jwt) = &*shared;
                let answer = stack.get("/orders").bearer(jwt).send().await.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert_eq!(answer.identity().unwrap()["x-user-id"], "1");
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    for _ in 0..ROTATIONS {
        let mut shared = stack.write().await;
        let (stack, jwt) = &mut *shared;
        stack.rotate().await.unwrap();
        *jwt = stack.login().await.unwrap().access;
        drop(shared);
        let before = answered.load(Ordering::SeqCst);
        while answered.load(Ordering::SeqCst) < before + 100 && clients.len() == CLIENTS {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if let Some(ended) = clients.try_join_next() {
                ended.unwrap();
            }
        }
    }
    done.store(true, Ordering::SeqCst);
    clients.join_all().await;
    assert!(answered.load(Ordering::SeqCst) >= 100 * ROTATIONS as u64);
    // The rotations took effect: a token of the first key is no longer valid.
    let refused = stack.read().await.0.get("/orders").bearer(&first).send().await.unwrap();
    assert_eq!((refused.status, refused.code().as_deref()), (401, Some("signature_invalid")));
}
