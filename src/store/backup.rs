//! Backups of a SQLite file: made beside a running daemon, put back while none runs.
//!
//! A backup is one complete file, checked before it gets its name: whoever finds the name finds a sound backup, whenever the
//! power went. Restoring never leaves a moment without a store at its place, because a daemon that starts then would make an empty
//! one: the old file gets a second name, and the new one replaces it.
//!
//! Numbers that were given since the backup are not given again. They are in chats, and they are in keys that channels drop as repeats.

use std::{
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use tempfile::NamedTempFile;

use super::{Error, Place, Result, Settings, db, migrate, query};

/// Incident numbers skipped when the store of before cannot be asked for its newest.
const SKIPPED: i64 = 10_000;

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// The schema of the backup.
    pub schema: i64,
    /// Its incidents.
    pub incidents: i64,
    /// Where the file of before is now; `None`: there was none.
    pub aside: Option<PathBuf>,
}

/// Copies the store, as of one instant, into a new file that only its owner can read. `place` is the folder it is made in; it has
/// no name there yet.
pub async fn copy(settings: &Settings, place: &Path) -> Result<NamedTempFile> {
    let path = file(settings)?;
    if !path.exists() {
        return Err(Error::Missing(path.display().to_string()));
    }
    let copy = NamedTempFile::new_in(place).map_err(|error| failed(place, &error))?;
    db::copy_file(path, copy.path()).await?;
    look(copy.path()).await?;
    copy.as_file().sync_all().map_err(|error| failed(copy.path(), &error))?;
    Ok(copy)
}

/// Makes a backup; a file that is there is kept unless `force`. Returns its size, bytes.
pub async fn backup(settings: &Settings, to: &Path, force: bool) -> Result<u64> {
    let store = file(settings)?;
    let same = |a: &Path, b: &Path| {
        a.canonicalize().ok().is_some_and(|a| b.canonicalize().ok() == Some(a))
    };
    if same(store, to) {
        return Err(Error::Failed(format!("{} is the store itself", to.display())));
    }
    if to.exists() && !force {
        let why = "is there already; choose another name, or --force to replace it";
        return Err(Error::Failed(format!("{} {why}", to.display())));
    }
    let folder = folder(to);
    let copy = copy(settings, folder).await?;
    let size = copy.as_file().metadata().map_err(|error| failed(to, &error))?.len();
    let named = if force { copy.persist(to) } else { copy.persist_noclobber(to) };
    named.map_err(|error| failed(to, &error.error))?;
    sync_folder(folder)?;
    Ok(size)
}

/// Puts a backup in the store's place. Refused while a daemon has the store open.
pub async fn restore(settings: &Settings, from: &Path, now: Timestamp) -> Result<Restored> {
    let path = file(settings)?;
    let folder = folder(path);
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let _lock = db::lock_file(path)?;
    let log = beside(from, "-wal");
    if log.metadata().is_ok_and(|log| log.len() > 0) {
        return Err(Error::Failed(format!(
            "{} lies beside it: this is a store, not a backup of one; make one with `paramedic store backup`",
            log.display()
        )));
    }
    let new = NamedTempFile::new_in(folder).map_err(|error| failed(folder, &error))?;
    let mut source = File::open(from).map_err(|error| failed(from, &error))?;
    io::copy(&mut source, &mut new.as_file()).map_err(|error| failed(new.path(), &error))?;
    let schema = look(new.path()).await.map_err(|error| named(error, from))?;
    let used = newest_number(path).await;
    let incidents = prepare(new.path(), used).await?;
    new.as_file().sync_all().map_err(|error| failed(new.path(), &error))?;
    let aside = if path.exists() { Some(set_aside(path, now)?) } else { None };
    new.persist(path).map_err(|error| failed(path, &error.error))?;
    sync_folder(folder)?;
    Ok(Restored { schema, incidents, aside })
}

/// The file's schema, when it is sound and ours.
async fn look(path: &Path) -> Result<i64> {
    let name = path.display().to_string();
    let db = db::look_into(path).map_err(|error| db::damaged(error, path))?;
    let checked = db::quick_check(db).await;
    let (mut db, found) = checked.map_err(|error| db::damaged(error, path))?;
    if let Some(found) = found {
        return Err(Error::Damaged { file: name, found });
    }
    let plan = migrate::plan(&mut db).await?;
    db::close(db).await;
    match plan.from {
        0 => Err(Error::Failed(format!("{name} is not a store of Paramedic"))),
        schema => Ok(schema),
    }
}

/// The newest incident number of the store that is replaced, if it can still be read.
async fn newest_number(path: &Path) -> Option<i64> {
    if !path.exists() {
        return None;
    }
    let mut db = db::open_file(path).ok()?;
    let sql = "SELECT value FROM meta WHERE name = 'incident'";
    let number = query(sql).one::<(i64,)>(&mut db).await;
    db::close(db).await;
    number.ok().map(|(number,)| number)
}

/// Makes the copy fit to be started; how many incidents it has.
async fn prepare(path: &Path, used: Option<i64>) -> Result<i64> {
    let mut db = db::open_alone(path)?;
    let sql = "UPDATE meta SET value = CASE WHEN $1 > 0 THEN max(value, $1) ELSE value + $2 END WHERE name = 'incident'";
    query(sql).bind(used.unwrap_or(0)).bind(SKIPPED).execute(&mut db).await?;
    // It was made beside a running daemon, and travelled: the next start looks at all of it.
    query("DELETE FROM meta WHERE name = 'clean_stop'").execute(&mut db).await?;
    let (incidents,): (i64,) = query("SELECT count(*) FROM incidents").one(&mut db).await?;
    db::close(db).await;
    Ok(incidents)
}

/// Gives the file, and what belongs to it, a second name, and takes away what would not fit the new one.
fn set_aside(path: &Path, now: Timestamp) -> Result<PathBuf> {
    let name = format!(".before-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let aside = beside(path, &name);
    for part in ["", "-wal"] {
        let (old, kept) = (beside(path, part), beside(&aside, part));
        if !old.exists() {
            continue;
        }
        if kept.exists() {
            let error = format!("{} is there already; try again in a second", kept.display());
            return Err(Error::Failed(error));
        }
        // Some file systems have no second names.
        let done =
            std::fs::hard_link(&old, &kept).or_else(|_| std::fs::copy(&old, &kept).map(drop));
        done.map_err(|error| failed(&kept, &error))?;
    }
    sync_folder(folder(path))?;
    for part in ["-wal", "-shm"] {
        let old = beside(path, part);
        if old.exists() {
            std::fs::remove_file(&old).map_err(|error| failed(&old, &error))?;
        }
    }
    Ok(aside)
}

fn file(settings: &Settings) -> Result<&Path> {
    match settings.place()? {
        Place::File(path) => Ok(path),
        Place::Server => Err(Error::Failed("PostgreSQL has its own tools: pg_dump".to_owned())),
        #[cfg(feature = "simulation")]
        Place::World(_) => Err(Error::Failed("a simulated store has no file".to_owned())),
    }
}

/// `paramedic.db-wal` beside `paramedic.db`.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new name is there after a power cut only once its folder was written.
fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(folder, &error))
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::Failed(format!("{}: {error}", path.display()))
}

/// Says the name that the person gave.
fn named(error: Error, path: &Path) -> Error {
    match error {
        Error::Damaged { found, .. } => Error::Damaged { file: path.display().to_string(), found },
        Error::Newer { found, known } => Error::Newer { found, known },
        other => Error::Failed(format!("{}: {other}", path.display())),
    }
}
