//! Which requests are served over HTTP.
//!
//! Any web page that a user looks at can send requests to ports of the user's machine. What its scripts send says so itself, in headers that no script can
//! change: `Origin` (Fetch Standard), and `Sec-Fetch-Site` (Fetch Metadata). A page can also have its own name resolve to this machine (DNS rebinding),
//! and then shows by the name in `Host` that it is not we who were meant.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};

/// Which requests are served.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admission {
    /// Origins of pages that may call: `http://localhost:3000`, or `*` for all.
    origins: Vec<String>,
    /// The name under which the server was told to listen, if it is a name.
    name: Option<String>,
}

impl Admission {
    /// Pages of these origins may call, and whoever knows the server by its address or by the name in `listen`, a `HOST:PORT`.
    pub(crate) fn new(origins: Vec<String>, listen: &str) -> Admission {
        let name = listen.rsplit_once(':').map(|(host, _)| host.to_ascii_lowercase());
        Admission {
            origins,
            name: name.filter(|name| !name.is_empty()),
        }
    }

    /// Whether a request with these headers is served; answers the origin of the page that it comes from, if it comes from one. An error is a sentence for
    /// the client.
    pub(crate) fn check<'h>(&self, headers: &'h HeaderMap, target: Option<&str>) -> Result<Option<&'h str>, String> {
        for host in headers.get_all(HOST) {
            let host = host.to_str().map_err(|_| "the Host header is no text".to_owned())?;
            self.check_host(host)?;
        }
        if let Some(host) = target {
            self.check_host(host)?;
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = match (origins.next(), origins.next()) {
            (None, _) => None,
            (Some(origin), None) => Some(origin.to_str().map_err(|_| "the Origin header is no text".to_owned())?),
            _ => return Err("there is more than one Origin header".to_owned()),
        };
        match origin {
            Some(origin) if self.origins.iter().any(|allowed| allowed == "*" || allowed == origin) => Ok(Some(origin)),
            Some(origin) => Err(format!(
                "requests of the web page {origin} are refused; start the server with --allow-origin={origin} to allow them"
            )),
            None if headers.contains_key("sec-fetch-site") => {
                Err("requests that a browser sends for a web page need an Origin header".to_owned())
            }
            None => Ok(None),
        }
    }

    fn check_host(&self, host: &str) -> Result<(), String> {
        let name = without_port(host);
        let is_address = name
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok();
        let name = name.to_ascii_lowercase();
        if is_address || name == "localhost" || self.name.as_ref() == Some(&name) {
            return Ok(());
        }
        Err(format!(
            "requests for the host {name} are refused, as a web page could have made up the name; use the server's address"
        ))
    }
}

/// The name in `name`, `name:80`, `[::1]` or `[::1]:80`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => {
            // What is left of an address without brackets is none.
            if name.contains(':') && !name.ends_with(']') {
                host
            } else {
                name
            }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn check(admission: &Admission, headers: &[(&'static str, &'static str)]) -> Result<Option<String>, String> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        admission.check(&headers, None).map(|origin| origin.map(str::to_owned))
    }

    #[test]
    fn pages_are_refused_unless_they_are_allowed() {
        let none = Admission::default();
        assert_eq!(check(&none, &[("host", "127.0.0.1:1")]), Ok(None));
        for origin in ["http://localhost:1", "null", "https://example.com"] {
            let refused = check(&none, &[("origin", origin)]).expect_err("no page is allowed");
            assert!(
                refused.contains(origin) && refused.contains("--allow-origin"),
                "{refused}"
            );
        }
        assert!(check(&none, &[("sec-fetch-site", "none")]).is_err());
        let some = Admission::new(vec!["http://localhost:1".to_owned()], "127.0.0.1:0");
        assert_eq!(
            check(
                &some,
                &[("origin", "http://localhost:1"), ("sec-fetch-site", "cross-site")]
            ),
            Ok(Some("http://localhost:1".to_owned()))
        );
        assert!(check(&some, &[("origin", "http://localhost:12")]).is_err());
        assert!(check(&some, &[("origin", "http://localhost:1"), ("host", "example.com")]).is_err());
        let all = Admission::new(vec!["*".to_owned()], ":0");
        assert!(check(&all, &[("origin", "https://example.com")]).is_ok());
    }

    #[test]
    fn names_that_others_could_make_up_are_refused() {
        let admission = Admission::new(Vec::new(), "DevBox:4040");
        for host in [
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]:80",
            "[::1]",
            "::1",
            "10.0.0.7:80",
            "localhost",
            "LOCALHOST:4040",
            "devbox:4040",
        ] {
            assert!(check(&admission, &[("host", host)]).is_ok(), "{host}");
        }
        for host in [
            "example.com",
            "example.com:80",
            "127.0.0.1.example.com",
            "localhost.example.com",
            "",
        ] {
            assert!(check(&admission, &[("host", host)]).is_err(), "{host}");
        }
        assert!(admission.check(&HeaderMap::new(), Some("example.com")).is_err());
    }
}
