//! Starting, serving and stopping.

use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::app::App;
use crate::error::{ApiError, Error};
use crate::faults::{self, Faults, Reset};
use crate::hash::Hasher;
use crate::keys::Key;
use crate::options::{Options, TokenHash};
use crate::status::{self, Metrics};
use crate::store::Store;
use crate::{admin, session, tokens, verify};

/// A running service. Dropping it stops it too, without waiting until it has stopped.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Where the service listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://ADDR:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Closes the listener and drops every open connection. Afterwards the address is free again.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.serving.await {
            eprintln!("auth-service: {error}");
        }
    }
}

/// Starts the service; it listens when this returns.
pub async fn start(options: Options) -> Result<Server, Error> {
    let refused = |source| Error::Listen { addr: options.listen, source };
    let listener = TcpListener::bind(options.listen).await.map_err(refused)?;
    let addr = listener.local_addr().map_err(refused)?;

    let db = options.db.clone();
    let store = Arc::new(in_background(move || Store::open(&db)).await?);
    let hasher = Hasher::new();
    let for_key = Arc::clone(&store);
    let (key, users) = tokio::join!(in_background(move || load_key(&for_key)), add_users(&store, &hasher, &options));
    users?;
    let app = Arc::new(App {
        store,
        hasher,
        token_hash: options.token_hash,
        access_ttl: options.access_ttl.into(),
        refresh_ttl: options.refresh_ttl.into(),
        key: RwLock::new(Arc::new(key?)),
        metrics: Metrics::new(),
    });

    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(serve(listener, router(app, options.faults), stopped));
    Ok(Server { addr, stop, serving })
}

async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Task(error.to_string()))?
}

/// The key in the database, or a new one at the first start.
fn load_key(store: &Store) -> Result<Key, Error> {
    if let Some(pem) = store.private_key()? {
        return Key::from_pem(&pem);
    }
    let key = Key::generate()?;
    store.add_private_key(&key.private_pem)?;
    match store.private_key()? {
        Some(pem) if pem != key.private_pem => Key::from_pem(&pem),
        _ => Ok(key),
    }
}

async fn add_users(store: &Store, hasher: &Hasher, options: &Options) -> Result<(), Error> {
    for user in &options.users {
        if !store.has_user(&user.name)? {
            let hash = hasher.hash(TokenHash::Argon2id, user.password.clone()).await?;
            store.add_user(user, &hash)?;
        }
    }
    Ok(())
}

/// What is served, besides `/faults`.
fn routes() -> [(&'static str, MethodRouter<Arc<App>>); 14] {
    [
        ("/auth/verify", get(verify::verify)),
        ("/iam/public-key", get(session::public_key)),
        ("/auth/jwt/login", post(session::login)),
        ("/auth/jwt/refresh", post(session::refresh)),
        ("/auth/jwt/logout", post(session::logout)),
        ("/auth/blacklist", get(session::blacklist)),
        ("/iam/tokens", get(tokens::list).post(tokens::create)),
        ("/iam/tokens/{id}", get(tokens::read).patch(tokens::change).delete(tokens::delete)),
        ("/iam/revocations", post(admin::revoke)),
        ("/auth/password", post(admin::password)),
        ("/health", get(status::health)),
        ("/readiness", get(status::readiness)),
        ("/metrics", get(status::metrics)),
        ("/openapi.yaml", get(status::openapi)),
    ]
}

/// The paths of all endpoints but `/faults`, as `openapi.yaml` writes them: `/iam/tokens/{id}`.
pub fn paths() -> impl Iterator<Item = &'static str> {
    routes().into_iter().map(|(path, _)| path)
}

fn router(app: Arc<App>, with_faults: bool) -> Router {
    let faults = with_faults.then(|| Arc::new(Faults::new()));
    let mut router = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .route_layer(from_fn_with_state(Arc::clone(&app), status::count))
        .with_state(Arc::clone(&app));
    if let Some(faults) = &faults {
        router = router.merge(faults::router(app, Arc::clone(faults)));
    }
    let router = router
        .fallback(async || ApiError::NotFound("There is nothing at this path"))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(map_response(no_store));
    match faults {
        Some(faults) => router.layer(from_fn_with_state(faults, faults::intercept)),
        None => router,
    }
}

/// Answers carry credentials and verdicts, so no cache may store them.
async fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Accepts connections until `stop` is dropped, and then drops them all.
async fn serve(listener: TcpListener, router: Router, mut stop: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, router.clone()));
                }
                Err(error) => {
                    eprintln!("auth-service: cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await; // out of file descriptors, most likely
                }
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve_connection(stream: TcpStream, router: Router) {
    // Both errors are ignored: they mean that the connection is gone.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: axum::http::Request<Incoming>| {
        let answer = router.call(request);
        async move {
            let response = match answer.await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            // On an error hyper closes the connection without an answer.
            if response.extensions().get::<Reset>().is_some() { Err(Reset) } else { Ok(response) }
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
