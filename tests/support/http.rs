//! Just enough HTTP to ask an engine and to be a webhook.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A message as it came over the wire, request or response.
#[derive(Debug, Clone, Default)]
pub struct Wire {
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// An answer to a request.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Asks once, on a connection of its own.
pub fn request(address: SocketAddr, method: &str, path: &str, body: Option<&str>) -> io::Result<Answer> {
    request_bytes(address, method, path, &[], body.unwrap_or_default().as_bytes())
}

/// The same with headers, and a body of any bytes. A body that the other side does not read to its
/// end is no error: its answer counts.
pub fn request_bytes(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n")?;
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    write!(stream, "Content-Length: {}\r\n\r\n", body.len())?;
    let sent = stream.write_all(body);
    let wire = match (read(&mut BufReader::new(stream)), sent) {
        (Ok(wire), _) => wire,
        (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error),
    };
    let status = wire.start.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status in {:?}", wire.start)))?;
    Ok(Answer { status, headers: wire.headers, body: String::from_utf8_lossy(&wire.body).into_owned() })
}

/// Reads one message: by its length, by its chunks, or, for an answer, to the end.
pub fn read(reader: &mut impl BufRead) -> io::Result<Wire> {
    let mut wire = Wire { start: line(reader)?, ..Wire::default() };
    loop {
        let line = line(reader)?;
        let Some((name, value)) = line.split_once(':') else { break };
        wire.headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    if header(&wire.headers, "transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        loop {
            let size = line(reader)?;
            let size =
                usize::from_str_radix(size.split(';').next().unwrap_or_default(), 16).map_err(io::Error::other)?;
            let mut chunk = vec![0; size];
            reader.read_exact(&mut chunk)?;
            line(reader)?;
            if size == 0 {
                break;
            }
            wire.body.extend(chunk);
        }
    } else if let Some(length) = header(&wire.headers, "content-length") {
        wire.body = vec![0; length.parse().map_err(io::Error::other)?];
        reader.read_exact(&mut wire.body)?;
    } else if wire.start.starts_with("HTTP/") {
        reader.read_to_end(&mut wire.body)?;
    }
    Ok(wire)
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
