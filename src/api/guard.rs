//! Keeps web pages out. A page anywhere may make a browser on this host send requests here: under
//! a name of its own that it points at loopback (DNS rebinding), or as a form posted across sites.

use std::net::IpAddr;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::http::uri::{Authority, Uri};
use actix_web::middleware::Next;

use super::problem::Problem;

/// Who can reach the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// This host alone.
    Loopback,
    /// Other hosts, by names that are not known here.
    Network,
}

/// Lets a request through that was made by no page of another site, and, where this host alone is
/// served, to a loopback name.
pub(super) async fn same_site_only(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let reach = request.app_data::<Reach>().copied().unwrap_or(Reach::Loopback);
    let headers = request.headers();
    let mut named = None;
    for host in headers.get_all(header::HOST) {
        let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        if reach == Reach::Loopback && !authority.as_ref().is_some_and(|authority| is_loopback(authority.host())) {
            return Err(refused("Host", host).hint("use http://127.0.0.1, http://[::1] or http://localhost").into());
        }
        named = authority;
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let page = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
        let own = |host: &str| is_loopback(host) || named.as_ref().is_some_and(|named| named.host() == host);
        if !page.and_then(|page| page.host().map(own)).unwrap_or(false) {
            return Err(refused("Origin", origin).into());
        }
    }
    next.call(request).await
}

fn refused(name: &str, value: &header::HeaderValue) -> Problem {
    let value = value.to_str().unwrap_or("unreadable");
    Problem::new(
        StatusCode::FORBIDDEN,
        format!("{name} `{value}` is not this host: requests of other sites are refused"),
    )
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => {
            let name = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn loopback_is_known_by_every_name() {
        for host in ["127.0.0.1", "127.9.9.9", "[::1]", "::1", "localhost", "LOCALHOST.", "engine.localhost"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "0.0.0.0"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
