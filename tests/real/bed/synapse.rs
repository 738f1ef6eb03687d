//! A real Matrix homeserver (Synapse) on `SQLite`.

use std::{path::PathBuf, process::Command};

use super::{
    Bed, ports,
    process::{Process, run},
    venv,
};

/// A running homeserver; its server name is `localhost`.
pub struct Synapse {
    /// `http://127.0.0.1:port`.
    pub url: String,
    /// Its process, to freeze and to kill.
    pub process: Process,
    config: PathBuf,
}

/// How it limits requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// As shipped: about the seventh quick message is answered with 429 and `Retry-After`.
    Default,
    /// So high that no story reaches them.
    Loose,
}

impl Synapse {
    /// Creates a homeserver and starts it.
    pub async fn start(bed: &Bed, limits: Limits) -> Self {
        let folder = bed.folder("synapse");
        let port = ports::free();
        let url = format!("http://127.0.0.1:{port}");
        let loose = match limits {
            Limits::Default => String::new(),
            Limits::Loose => {
                let high = "{per_second: 10000, burst_count: 10000}";
                format!(
                    "rc_message: {high}\nrc_registration: {high}\nrc_login: {{address: {high}, account: {high}}}\n\
                     rc_joins: {{local: {high}}}\nrc_invites: {{per_room: {high}, per_user: {high}}}\n"
                )
            }
        };
        let data = folder.display();
        let config = bed.file(
            "synapse/homeserver.yaml",
            &format!(
                "server_name: localhost\n\
                 listeners: [ {{port: {port}, type: http, tls: false, bind_addresses: ['127.0.0.1'], resources: [ {{names: [client]}} ]}} ]\n\
                 database: {{name: sqlite3, args: {{database: '{data}/homeserver.db'}}}}\n\
                 media_store_path: '{data}/media'\n\
                 signing_key_path: '{data}/signing.key'\n\
                 pid_file: '{data}/pid'\n\
                 registration_shared_secret: shared-by-the-story\n\
                 macaroon_secret_key: a-macaroon-secret\n\
                 form_secret: a-form-secret\n\
                 report_stats: false\n\
                 trusted_key_servers: []\n\
                 presence: {{enabled: false}}\n\
                 {loose}",
            ),
        );
        run(server(&folder, &config).arg("--generate-keys"));
        let mut process =
            Process::start("synapse", &mut server(&folder, &config), folder.join("log"));
        let health = format!("{url}/health");
        process.until_ready(async || bed.get(&health).await.filter(|r| r.status == 200)).await;
        Self { url, process, config }
    }

    /// Creates an account, `@name:localhost`.
    pub fn register(&self, name: &str, password: &str) {
        let mut command = Command::new(venv("synapse").join("bin/register_new_matrix_user"));
        command.args(["--no-admin", "-u", name, "-p", password, "-c"]).arg(&self.config);
        run(command.arg(&self.url));
    }
}

fn server(folder: &std::path::Path, config: &std::path::Path) -> Command {
    let mut command = Command::new(venv("synapse").join("bin/python"));
    command.args(["-m", "synapse.app.homeserver", "-c"]).arg(config).current_dir(folder);
    command
}
