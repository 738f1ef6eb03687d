//! A real Hive Metastore (2.3.9), from the jars inside the PySpark wheel, over Derby or PostgreSQL.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use paramedic::{
    clients::hive::{Client, Deadlines, Verdict},
    ops::clock::Clock,
};

use super::{
    Bed, READY, ports,
    postgres::Postgres,
    process::{Process, run},
    program, spark, until,
};

/// A running metastore.
pub struct Metastore {
    /// `127.0.0.1:port`.
    pub address: String,
    /// Its process, to freeze and to kill.
    pub process: Process,
}

/// Where it keeps its tables.
pub enum Database<'a> {
    /// Inside its own process.
    Derby,
    /// In the database `hms` of this server, created here.
    Postgres(&'a Postgres),
}

const POSTGRES_JDBC: &str = "/usr/share/java/postgresql.jar";

impl Metastore {
    /// Starts one and waits until its port is open.
    pub async fn start(bed: &Bed, database: Database<'_>) -> Self {
        let folder = bed.folder("metastore");
        let (url, driver) = match database {
            Database::Derby => {
                let data = folder.join("derby");
                let url = format!("jdbc:derby:;databaseName={};create=true", data.display());
                (url, "org.apache.derby.jdbc.EmbeddedDriver")
            }
            Database::Postgres(server) => {
                program(POSTGRES_JDBC);
                server.sql("postgres", "CREATE DATABASE hms");
                // It creates tables on first use and then waits for a transaction of its own, for ever, unless that ends.
                let patience = "ALTER DATABASE hms SET idle_in_transaction_session_timeout = '3s'";
                server.sql("postgres", patience);
                let url = format!("jdbc:postgresql://127.0.0.1:{}/hms", server.port);
                (url, "org.postgresql.Driver")
            }
        };
        let config = bed.file("metastore/conf/hive-site.xml", &site(&folder, &url, driver));
        let port = ports::free();
        let mut command = java(&build_shim(&folder), config.parent().unwrap());
        command.args(["org.apache.hadoop.hive.metastore.HiveMetaStore", "-p", &port.to_string()]);
        command.current_dir(&folder);
        let mut process = Process::start("metastore", &mut command, folder.join("log"));
        let address = format!("127.0.0.1:{port}");
        process
            .until_ready(async || tokio::net::TcpStream::connect(&address).await.ok().map(drop))
            .await;
        Self { address, process }
    }

    /// Waits until it answers everything: with its first answers it builds its schema, and is slow or fails meanwhile.
    pub async fn well(&self) {
        let client = Client::new(&self.address).unwrap();
        let deadlines = Deadlines { slow: Duration::from_mins(1), ..Deadlines::default() };
        until("the metastore is well", READY, async || {
            let ladder = client.ladder(&deadlines, None, &Clock::System).await;
            (ladder.verdict == Verdict::Ok).then_some(())
        })
        .await;
    }
}

fn site(folder: &Path, url: &str, driver: &str) -> String {
    let warehouse = format!("file://{}", folder.join("warehouse").display());
    let properties = [
        ("javax.jdo.option.ConnectionURL", url),
        ("javax.jdo.option.ConnectionDriverName", driver),
        ("javax.jdo.option.ConnectionUserName", "app"),
        ("javax.jdo.option.ConnectionPassword", "unused"),
        ("datanucleus.schema.autoCreateAll", "true"),
        ("hive.metastore.schema.verification", "false"),
        ("hive.metastore.warehouse.dir", &warehouse),
        // Its logger needs a class that the wheel does not have.
        ("hive.async.log.enabled", "false"),
        ("hive.metastore.server.min.threads", "4"),
    ];
    let properties = properties.map(|(name, value)| {
        format!("<property><name>{name}</name><value>{value}</value></property>\n")
    });
    format!("<configuration>\n{}</configuration>\n", properties.concat())
}

fn java(shim: &Path, config: &Path) -> Command {
    let jars = spark::home(spark::Version::V3).join("jars/*");
    let classes = format!("{}:{}:{POSTGRES_JDBC}", config.display(), jars.display());
    let mut command = Command::new(program("/usr/bin/java"));
    command.env("LD_PRELOAD", shim).args(["-Xmx384m", "-XX:TieredStopAtLevel=1"]);
    for package in ["lang", "net", "util", "util.concurrent", "io"] {
        command.arg(format!("--add-opens=java.base/java.{package}=ALL-UNNAMED"));
    }
    command.args(["-cp", &classes]);
    command
}

/// The metastore has no bind option and would listen on every interface.
fn build_shim(folder: &Path) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/bed/loopback.c");
    let shim = folder.join("loopback.so");
    let mut compiler = Command::new(program("/usr/bin/cc"));
    run(compiler
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
        .arg(&shim)
        .args([source, "-ldl"]));
    shim
}
