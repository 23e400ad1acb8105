//! The ports of EXPOSE.

use std::net::IpAddr;

use crate::error::PortError;

/// Returns the ports of an expanded word of EXPOSE: `80/tcp`, `8000-8002/udp`. The default protocol
/// is tcp.
///
/// The forms of `docker run -p`, `host:container` and `address:host:container`, are read, too.
/// Their host part is checked and then ignored.
///
/// **Shape**: `number/protocol` in rising order, at least one.
///
/// **Errors**: any [`PortError`].
///
/// ```
/// use xbuild_dockerfile::parse_ports;
///
/// assert_eq!(parse_ports("80-81/UDP")?, ["80/udp", "81/udp"]);
/// assert!(parse_ports("65536").is_err());
/// # Ok::<(), xbuild_dockerfile::PortError>(())
/// ```
pub fn parse_ports(word: &str) -> Result<Vec<String>, PortError> {
    let (mapped, container) = match word.rsplit_once(':') {
        Some((mapped, container)) => (Some(mapped), container),
        None => (None, word),
    };
    let (numbers, protocol) = container.split_once('/').unwrap_or((container, ""));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        _ => {
            let (port, protocol) = (word.to_owned(), protocol.to_owned());
            return Err(PortError::BadProtocol { port, protocol });
        }
    };
    let (first, last) = range(word, numbers)?;
    if let Some(mapped) = mapped {
        check_mapping(word, mapped, last - first)?;
    }
    Ok((first..=last).map(|number| format!("{number}/{protocol}")).collect())
}

/// Checks `host` or `address:host`, where the container's range is one port wider than `width`.
fn check_mapping(word: &str, mapped: &str, width: u16) -> Result<(), PortError> {
    let (address, host) = match mapped.rsplit_once(':') {
        Some((address, host)) => (address, host),
        None => ("", mapped),
    };
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        let (port, address) = (word.to_owned(), address.to_owned());
        return Err(PortError::BadAddress { port, address });
    }
    if !host.is_empty() {
        let (first, last) = range(word, host)?;
        if width > 0 && last - first != width {
            return Err(PortError::BadRange { port: word.to_owned() });
        }
    }
    Ok(())
}

fn range(word: &str, numbers: &str) -> Result<(u16, u16), PortError> {
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let (first, last) = (number(word, first)?, number(word, last)?);
    if last < first {
        return Err(PortError::BadRange { port: word.to_owned() });
    }
    Ok((first, last))
}

fn number(word: &str, digits: &str) -> Result<u16, PortError> {
    let port = word.to_owned();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(PortError::NotANumber { port });
    }
    digits.parse().map_err(|_| PortError::OutOfRange { port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_a_port() {
        for (word, expected) in [
            ("80", Ok(&["80/tcp"][..])),
            ("80/", Ok(&["80/tcp"])),
            ("53/UDP", Ok(&["53/udp"])),
            ("8000-8002/sctp", Ok(&["8000/sctp", "8001/sctp", "8002/sctp"])),
            ("65535", Ok(&["65535/tcp"])),
            ("8080:80", Ok(&["80/tcp"])),
            ("127.0.0.1:9090:90/udp", Ok(&["90/udp"])),
            ("[::1]:90:90", Ok(&["90/tcp"])),
            ("::1::90", Ok(&["90/tcp"])),
            ("8000-8010:80", Ok(&["80/tcp"])),
            ("http", Err("invalid port \"http\": not a number")),
            ("", Err("not a number")),
            ("/tcp", Err("not a number")),
            ("-1", Err("not a number")),
            ("65536", Err("\"65536\": out of the range")),
            ("99999999999999999999", Err("out of the range")),
            ("80/abc", Err("invalid protocol \"abc\"")),
            ("82-80", Err("invalid port range")),
            ("1-2:1-3", Err("invalid port range")),
            ("x:1:1", Err("invalid address \"x\"")),
        ] {
            match (parse_ports(word), expected) {
                (Ok(ports), Ok(expected)) => assert_eq!(ports, expected, "{word}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (result, _) => panic!("{word}: {result:?}"),
            }
        }
    }
}
