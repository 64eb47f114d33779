//! Whose process is at the other end of a loopback TCP connection.
//!
//! The kernel lists every TCP socket with its owner in `/proc/net/tcp` and `/proc/net/tcp6` (format:
//! `get_tcp4_sock` in `net/ipv4/tcp_ipv4.c` and `get_tcp6_sock` in `net/ipv6/tcp_ipv6.c`).

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
};

/// Whether the client's socket belongs to the user who runs this server. Unknown owners count as others.
pub(crate) fn owns_tcp_peer(local: SocketAddr, peer: SocketAddr) -> bool {
    let own = nix::unistd::getuid().as_raw();
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .any(|path| std::fs::read_to_string(path).is_ok_and(|table| owner(&table, peer, local) == Some(own)))
}

/// The user id of the socket at `local` that is connected to `remote`, both as that socket sees them.
fn owner(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let names = |address: SocketAddr| [in_table(address, false), in_table(address, true)];
    let (locals, remotes) = (names(local), names(remote));
    table.lines().find_map(|line| {
        // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid ...
        let mut fields = line.split_ascii_whitespace().skip(1);
        let found = (fields.next()?, fields.next()?);
        let same = locals
            .iter()
            .zip(&remotes)
            .any(|(local, remote)| found == (local.as_str(), remote.as_str()));
        if same { fields.nth(4)?.parse().ok() } else { None }
    })
}

/// An address as the kernel prints it: each 32-bit word of the address in host order, then the port.
fn in_table(address: SocketAddr, as_v6: bool) -> String {
    let octets = match (address.ip().to_canonical(), as_v6) {
        (IpAddr::V4(ip), false) => ip.octets().to_vec(),
        (IpAddr::V4(ip), true) => ip.to_ipv6_mapped().octets().to_vec(),
        (IpAddr::V6(ip), _) => ip.octets().to_vec(),
    };
    let mut text = String::with_capacity(40);
    for word in octets.chunks_exact(4) {
        let word = word
            .iter()
            .rev()
            .fold(0_u32, |word, octet| (word << 8) | u32::from(*octet));
        // Writing to a String cannot fail.
        let _ = write!(text, "{word:08X}");
    }
    let _ = write!(text, ":{:04X}", address.port());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
12345: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000 149098        0 2 1 0 20 4 30 10 -1
";

    const TABLE6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:C350 00000000000000000000000001000000:1F90 01 00000000:00000000 00:00000000 00000000   777        0 2
   1: 0000000000000000FFFF00000100007F:C351 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 00:00000000 00000000   778        0 2
";

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_clients_end_is_found_not_ours() {
        assert_eq!(owner(TABLE, at("127.0.0.1:50000"), at("127.0.0.1:8080")), Some(149_098));
        assert_eq!(owner(TABLE, at("127.0.0.1:8080"), at("127.0.0.1:50000")), None);
        assert_eq!(owner(TABLE, at("127.0.0.1:50001"), at("127.0.0.1:8080")), None);
    }

    #[test]
    fn both_families_and_mapped_addresses_are_found() {
        assert_eq!(owner(TABLE6, at("[::1]:50000"), at("[::1]:8080")), Some(777));
        assert_eq!(owner(TABLE6, at("127.0.0.1:50001"), at("127.0.0.1:8080")), Some(778));
        assert_eq!(
            owner(TABLE6, at("[::ffff:127.0.0.1]:50001"), at("[::ffff:127.0.0.1]:8080")),
            Some(778)
        );
    }
}
