//! The HTTP API, on loopback unless told otherwise: telemetry comes in, what the engine knows goes out.
//!
//! It decides nothing: a body is read and handed to the [`Intake`], a question is put to the
//! [`Board`], what people say is told to the [`Operator`], and the answer is written in the shapes of [`wire`]. Errors are
//! `application/problem+json`. Web pages are kept out: on loopback a request must name a loopback
//! host, and everywhere one that a page of another origin made is refused.

mod body;
mod events;
mod guard;
mod ledger;
mod operate;
mod problem;
mod sinks;
#[cfg(test)]
mod tests;
mod views;
pub mod wire;

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{App, HttpServer, web};
use tokio::task::JoinHandle;

use crate::domain::names::Name;
use crate::limits;
use crate::ports::{Board, Intake, Operator};
use crate::sources::formats::NativeFormat;

use self::body::Room;

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Where and how the API is served.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// The address: a loopback one, unless `insecure`; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Whether other hosts may reach it.
    pub insecure: bool,
    /// Threads that read requests.
    pub workers: usize,
    /// How long requests under way may take when the engine stops, in whole seconds, at least one.
    pub grace: Duration,
}

/// The engine, for answers about itself.
#[derive(Debug, Clone)]
pub struct EngineInfo {
    /// Its process.
    pub pid: u32,
    /// Its host.
    pub host: Name,
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address would let others in.
    #[error("cannot listen on {listen}: only loopback addresses are allowed")]
    NotLoopback {
        /// The address.
        listen: SocketAddr,
    },
    /// Another program has the port.
    #[error("cannot listen on {listen}: another program uses the port")]
    InUse {
        /// The address.
        listen: SocketAddr,
    },
    /// The system refused.
    #[error("cannot listen on {listen}: {source}")]
    Io {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl ApiError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            ApiError::NotLoopback { listen } => {
                format!("set `[engine] listen = \"127.0.0.1:{}\"` and reach it from afar by `ssh -L`", listen.port())
            }
            ApiError::InUse { listen } => format!(
                "if it is an engine, use that one (`runwatch status`); otherwise stop it (`ss -ltnp sport = :{}` \
                 tells which it is) or set `[engine] listen` to another port",
                listen.port()
            ),
            ApiError::Io { .. } => "set `[engine] listen` to an address of this host".to_owned(),
        }
    }
}

/// The API, being served.
#[derive(Debug)]
pub struct ApiServer {
    addr: SocketAddr,
    handle: ServerHandle,
    served: JoinHandle<io::Result<()>>,
}

impl ApiServer {
    /// Takes the address and serves on it. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The address is not a loopback one, or not to be had.
    pub fn bind(
        config: &ApiConfig,
        intake: Arc<dyn Intake>,
        board: Arc<dyn Board>,
        operator: Arc<dyn Operator>,
        info: EngineInfo,
    ) -> Result<ApiServer, ApiError> {
        let listen = config.listen;
        if !listen.ip().is_loopback() && !config.insecure {
            return Err(ApiError::NotLoopback { listen });
        }
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ApiError::InUse { listen },
            _ => ApiError::Io { listen, source },
        };
        let listener = TcpListener::bind(listen).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let reach = if listen.ip().is_loopback() { guard::Reach::Loopback } else { guard::Reach::Network };
        let room = Room::of(limits::BODY_BYTES_IN_FLIGHT_MAX);
        let make = move || {
            App::new()
                .app_data(web::Data::from(intake.clone()))
                .app_data(web::Data::from(board.clone()))
                .app_data(web::Data::from(operator.clone()))
                .app_data(web::Data::new(info.clone()))
                .app_data(web::Data::new(room.clone()))
                // One a worker, whose handlers take turns on one thread: names are shared by all it reads.
                .app_data(web::Data::new(RefCell::new(NativeFormat::new())))
                .app_data(reach)
                .wrap(from_fn(guard::same_site_only))
                .wrap(
                    DefaultHeaders::new().add(("Cache-Control", "no-store")).add(("X-Content-Type-Options", "nosniff")),
                )
                .configure(routes)
        };
        let server = HttpServer::new(make)
            .workers(config.workers)
            .max_connections(limits::CONNECTIONS_MAX)
            .client_request_timeout(HEAD_TIMEOUT)
            .keep_alive(KEEP_ALIVE)
            .shutdown_timeout(config.grace.as_secs().max(1))
            .disable_signals()
            .listen(listener)
            .map_err(failed)?
            .run();
        let handle = server.handle();
        Ok(ApiServer { addr, handle, served: tokio::spawn(server) })
    }

    /// The address it is served on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:7171`: where this host reaches it.
    pub fn url(&self) -> String {
        let mut addr = self.addr;
        match addr.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        format!("http://{addr}")
    }

    /// Takes no more requests, lets those under way end within the grace, then closes.
    ///
    /// # Errors
    /// The server had failed before.
    pub async fn stop(self) -> io::Result<()> {
        self.handle.stop(true).await;
        self.served.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

fn routes(config: &mut web::ServiceConfig) {
    let resource = |path: &str| web::resource(path).default_service(web::to(problem::method_not_allowed));
    config
        .service(resource("/api/v1/events").route(web::post().to(events::post)))
        .service(resource("/healthz").route(views::read().to(views::healthz)))
        .service(resource("/readyz").route(views::read().to(views::readyz)))
        .service(resource("/api/v1/status").route(views::read().to(views::status)))
        .service(resource("/api/v1/config").route(views::read().to(views::config)))
        .service(resource("/api/v1/runs").route(views::read().to(views::runs)))
        .service(resource("/api/v1/runs/{run:.+}").route(views::read().to(views::run)))
        .service(resource("/api/v1/sinks/{name:.+}/test").route(web::post().to(sinks::test)))
        .service(resource("/api/v1/incidents").route(views::read().to(views::incidents)))
        .service(resource("/api/v1/incidents/{id}").route(views::read().to(ledger::incident)))
        .service(resource("/api/v1/report").route(views::read().to(ledger::report)))
        .service(resource("/api/v1/deliveries").route(views::read().to(ledger::deliveries)))
        .service(resource("/api/v1/incidents/{id}/ack").route(web::post().to(operate::acknowledge)))
        .service(resource("/api/v1/incidents/{id}/snooze").route(web::post().to(operate::snooze)))
        .service(
            resource("/api/v1/silences")
                .route(views::read().to(operate::silences))
                .route(web::post().to(operate::silence))
                .route(web::delete().to(operate::end_silence)),
        )
        .service(resource("/api/v1/widenings").route(web::delete().to(operate::forget_widening)))
        .service(resource("/api/v1/silences/{id}").route(web::delete().to(operate::end_silence)))
        .default_service(web::to(problem::not_found));
}
