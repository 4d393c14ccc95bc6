//! Webhooks: tells other services what happened to the models of a namespace, signed.
//!
//! A hook is told of `position.changed` when the license position of a model that its namespace owns changes. The body
//! is JSON; the header `X-Herdbook-Signature` holds `sha256=` and the HMAC-SHA256 of the body under the hook's secret, in
//! hexadecimal. Addresses inside the operator's network are refused unless the operator allows them.

pub mod db;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use sqlx::PgConnection;
use url::{Host, Url};

use crate::auth::{self, Caller};

/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Hooks of one namespace.
const MOST_HOOKS: usize = 20;

/// What can go wrong with webhooks.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that no hook can have.
    #[error("{0}")]
    BadAddress(String),
    /// There is no such hook.
    #[error("there is no such webhook")]
    NotFound,
    /// A namespace has enough of them.
    #[error("a namespace has at most {MOST_HOOKS} webhooks: remove one first")]
    TooMany,
    /// The receiver did not take it.
    #[error("{0}")]
    NotDelivered(String),
    /// The caller may not.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// The log failed.
    #[error(transparent)]
    Catalog(#[from] crate::catalog::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A new hook, with the secret that is shown once.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct NewHook {
    /// Row id.
    pub id: i64,
    /// What signs deliveries.
    pub secret: String,
}

/// Adds a hook to a namespace.
pub async fn create(
    db: &mut PgConnection,
    caller: &Caller,
    namespace: &str,
    url: &str,
    allows_private: bool,
) -> Result<NewHook, Error> {
    caller.require_administer(namespace)?;
    let url = parse(url)?;
    resolve(&url, allows_private).await?;
    if db::list(db, namespace).await?.len() >= MOST_HOOKS {
        return Err(Error::TooMany);
    }
    let secret = auth::generate_secret();
    let id = db::insert(db, namespace, url.as_str(), &secret, caller.name()).await?;
    let detail = json!({ "namespace": namespace, "webhook": id, "host": url.host_str() });
    crate::catalog::record_event(db, caller.name(), "webhook added", None, &detail).await?;
    Ok(NewHook { id, secret })
}

/// Removes a hook of a namespace.
pub async fn remove(db: &mut PgConnection, caller: &Caller, namespace: &str, id: i64) -> Result<(), Error> {
    caller.require_administer(namespace)?;
    if !db::delete(db, namespace, id).await? {
        return Err(Error::NotFound);
    }
    let detail = json!({ "namespace": namespace, "webhook": id });
    crate::catalog::record_event(db, caller.name(), "webhook removed", None, &detail).await?;
    Ok(())
}

/// Returns the signature of a body under a secret, as the header says it.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// Delivers a body to a hook: one request, no redirects, to the address that was checked.
pub async fn deliver(hook: &db::Hook, event: &str, body: Vec<u8>, allows_private: bool) -> Result<(), Error> {
    let url = parse(&hook.url)?;
    let addresses = resolve(&url, allows_private).await?;
    let host = url.host_str().unwrap_or_default();
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("herdbook/", env!("CARGO_PKG_VERSION")))
        .resolve_to_addrs(host, &addresses)
        .build()
        .map_err(|error| Error::NotDelivered(error.to_string()))?;
    let signature = sign(&hook.secret, &body);
    let request = client
        .post(url)
        .header("Content-Type", "application/json")
        .header("X-Herdbook-Event", event)
        .header("X-Herdbook-Signature", signature)
        .body(body);
    let answer = request.send().await.map_err(|error| Error::NotDelivered(error.without_url().to_string()))?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(Error::NotDelivered(format!("the receiver answered {}", answer.status())))
}

fn parse(url: &str) -> Result<Url, Error> {
    let bad = |why: &str| Error::BadAddress(format!("`url`: {why}"));
    let url = Url::parse(url.trim()).map_err(|error| bad(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(bad("give an address that begins with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("leave user and password out; deliveries are signed"));
    }
    // The well-known services listen below 1024, and none of them is a receiver of webhooks.
    if url.port().is_some_and(|port| port < 1024 && !matches!(port, 80 | 443)) {
        return Err(bad("use port 80, 443, or one of 1024 and above"));
    }
    if url.as_str().len() > 2000 {
        return Err(bad("at most 2000 bytes"));
    }
    Ok(url)
}

/// Returns the addresses of a host, none of which may be inside the operator's network.
async fn resolve(url: &Url, allows_private: bool) -> Result<Vec<SocketAddr>, Error> {
    let port = url.port_or_known_default().unwrap_or(443);
    let addresses: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(ip)) => vec![(ip, port).into()],
        Some(Host::Ipv6(ip)) => vec![(ip, port).into()],
        Some(Host::Domain(name)) => {
            let found = tokio::net::lookup_host((name, port)).await;
            found.map_err(|error| Error::BadAddress(format!("`{name}` cannot be resolved: {error}")))?.collect()
        }
        None => Vec::new(),
    };
    let is_fine = !addresses.is_empty() && (allows_private || addresses.iter().all(|address| is_public(address.ip())));
    if is_fine {
        return Ok(addresses);
    }
    Err(Error::BadAddress(
        "the address is inside this server's own network; whoever operates it can allow that with \
         HERDBOOK_WEBHOOK_PRIVATE=true"
            .to_owned(),
    ))
}

/// Whether an address is one of the public internet (the IANA special-purpose registries list those that are not).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            let is_special = ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_broadcast()
                || ip.is_documentation()
                || ip.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 192 && b == 88 && c == 99)
                || (a == 192 && b == 31 && c == 196)
                || (a == 192 && b == 52 && c == 193)
                || (a == 192 && b == 175 && c == 48)
                || (a == 198 && (b == 18 || b == 19));
            !is_special
        }
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_public(IpAddr::V4(ip)),
            // Global unicast is 2000::/3. 64:ff9b::/96 and 64:ff9b:1::/48 (which wrap IPv4), 100::/64 and 5f00::/16 are
            // outside it; inside it are 2001::/23 (Teredo, benchmarks, ORCHID and other protocols), 2001:db8::/32 and
            // 3fff::/20 (documents), 2002::/16 (wraps IPv4) and 2620:4f:8000::/48 (sinks of reverse lookups).
            None => {
                let [first, second, third, ..] = ip.segments();
                let is_special = (first == 0x2001 && (second < 0x0200 || second == 0x0db8))
                    || first == 0x2002
                    || (first == 0x3fff && second < 0x1000)
                    || (first == 0x2620 && second == 0x004f && third == 0x8000);
                first & 0xe000 == 0x2000 && !is_special
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_inside_are_known() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "198.18.0.1",
            "192.88.99.1",
            "2001::7f00:1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff::1",
            "2001:db8::1",
            "3fff::1",
            "3fff:fff::1",
            "64:ff9b:1::7f00:1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in
            ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2001:200::1", "2001:4860:4860::8888", "3fff:1000::1"]
        {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn ports_of_other_services_are_refused() {
        for bad in ["http://example.org:22/", "https://example.org:25/", "http://example.org:1023/"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for good in ["http://example.org/", "https://example.org:80/", "http://example.org:443/", "https://h.org:8443/"]
        {
            assert!(parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_signature_is_the_hmac_of_the_body() {
        // RFC 4231, test case 2.
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(sign("Jefe", b"what do ya want for nothing?"), expected);
    }
}
