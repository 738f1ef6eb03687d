//! A certificate authority and a server certificate for 127.0.0.1, made by openssl for one story.

use std::{fs, path::PathBuf, process::Command};

use paramedic::demo::apiserver::Identity;

use super::{Bed, process::run, program};

/// What was made.
pub struct Made {
    /// The authority's certificate, as a file for clients.
    pub authority: PathBuf,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Made {
    /// Makes both.
    pub fn new(bed: &Bed) -> Self {
        let folder = bed.folder("tls");
        let path = |name: &str| folder.join(name).display().to_string();
        let openssl = |arguments: &[&str]| {
            run(Command::new(program("/usr/bin/openssl")).args(arguments).current_dir(&folder));
        };
        let elliptic = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let mut authority = vec!["req", "-x509", "-days", "2", "-subj", "/CN=test authority"];
        authority.extend(elliptic);
        openssl(&[&authority[..], &["-keyout", "ca.key", "-out", "ca.crt"]].concat());
        let mut request = vec!["req", "-subj", "/CN=kubernetes"];
        request.extend(elliptic);
        openssl(&[&request[..], &["-keyout", "server.key", "-out", "server.csr"]].concat());
        fs::write(path("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
        openssl(&[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            "server.csr",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "names",
            "-out",
            "server.crt",
        ]);
        Self {
            authority: folder.join("ca.crt"),
            certificate: fs::read(folder.join("server.crt")).unwrap(),
            key: fs::read(folder.join("server.key")).unwrap(),
        }
    }

    /// For the server.
    pub fn identity(&self) -> Identity<'_> {
        Identity { certificates: &self.certificate, key: &self.key }
    }
}
