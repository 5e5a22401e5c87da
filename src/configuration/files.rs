//! Reading files: bounded, complete, and with an error for everything else that can be at a path.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The largest configuration file that is read.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// The largest number of files in a folder of policies.
const MAX_FILES: usize = 1_000;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the file does not exist")]
    Missing,
    #[error("this is a folder, not a file")]
    Folder,
    #[error("this is not a folder")]
    NotFolder,
    #[error("this is not a regular file")]
    NotRegular,
    #[error("the folder has more than {MAX_FILES} files of policies")]
    TooMany,
    #[error("the file has more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    #[error("the file is empty")]
    Empty,
    #[error("the file is not UTF-8 text (line {line})")]
    NotText { line: usize },
    #[error("other users than the owner can read the file (mode {mode:04o})")]
    Open { mode: u32 },
    #[error("the file cannot be read: {0}")]
    Unreadable(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Unreadable(error),
        }
    }
}

/// The required rights of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// Any rights.
    Anybody,
    /// Its owner alone.
    OwnerOnly,
}

/// Returns all bytes of a regular file that is not empty.
pub(super) fn read_bytes(path: &Path, readers: Readers) -> Result<Vec<u8>, ReadError> {
    // Before it is opened: opening a named pipe would wait for its other end.
    check_kind(&fs::metadata(path)?)?;
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    check_kind(&metadata)?;
    if metadata.len() > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge);
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if readers == Readers::OwnerOnly && mode & 0o077 != 0 {
        return Err(ReadError::Open { mode });
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge);
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ReadError::Empty);
    }
    Ok(bytes)
}

/// Returns the text of such a file.
pub(super) fn read_text(path: &Path, readers: Readers) -> Result<String, ReadError> {
    String::from_utf8(read_bytes(path, readers)?).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).unwrap_or_default();
        ReadError::NotText { line: before.split(|byte| *byte == b'\n').count() }
    })
}

/// Returns what is in the place of a directory; `None` if it is one, or if that is unknown.
pub(super) fn not_a_directory(path: &Path) -> Option<&'static str> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => None,
        Ok(_) => Some("is not a directory"),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Some("does not exist")
        }
        Err(_) => None,
    }
}

fn check_kind(metadata: &fs::Metadata) -> Result<(), ReadError> {
    if metadata.is_dir() {
        return Err(ReadError::Folder);
    }
    if metadata.is_file() { Ok(()) } else { Err(ReadError::NotRegular) }
}

/// The content of a folder of policies, each list in the byte order of the names.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// The `*.toml` files.
    pub(super) read: Vec<PathBuf>,
    /// Other files that may have been meant as policies.
    pub(super) unread: Vec<PathBuf>,
}

/// Lists this folder; a missing one is empty. Temporary files of editors and package managers are
/// left out.
pub(super) fn folder(folder: &Path) -> Result<Folder, ReadError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Folder::default()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(ReadError::NotFolder),
        entries => entries?,
    };
    let mut names =
        entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<OsString>, io::Error>>()?;
    names.retain(|name| !is_scratch(name.as_bytes()));
    names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    let paths = names.into_iter().map(|name| folder.join(name));
    let (read, unread) = paths.partition::<Vec<_>, _>(|path| path.as_os_str().as_bytes().ends_with(b".toml"));
    if read.len() > MAX_FILES {
        return Err(ReadError::TooMany);
    }
    Ok(Folder { read, unread })
}

/// Returns whether a name is one that editors and package managers give to temporary files.
fn is_scratch(name: &[u8]) -> bool {
    let ends = [&b"~"[..], b".bak", b".rpmnew", b".rpmsave", b".rpmorig"];
    name.starts_with(b".")
        || ends.iter().any(|end| name.ends_with(end))
        || name.windows(b".dpkg-".len()).any(|part| part == b".dpkg-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_stand_at_a_path_has_its_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("good"), "x = 1\n").unwrap();
        fs::write(path("empty"), "").unwrap();
        fs::write(path("blank"), " \n\n").unwrap();
        fs::write(path("binary"), b"a\nb\n\xff\xfe").unwrap();
        fs::write(path("huge"), vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap() + 1]).unwrap();
        // A sparse file of 100 MB, so that the test itself writes none of it.
        File::create(path("hole")).unwrap().set_len(100 << 20).unwrap();
        fs::write(path("largest"), vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap()]).unwrap();
        std::os::unix::fs::symlink(path("loop"), path("loop")).unwrap();
        std::os::unix::fs::symlink(path("good"), path("link")).unwrap();
        let read = |name: &str| read_text(&path(name), Readers::Anybody);
        assert_eq!(read("good").unwrap(), "x = 1\n");
        assert_eq!(read("link").unwrap(), "x = 1\n");
        assert!(read("largest").is_ok());
        assert!(matches!(read("absent"), Err(ReadError::Missing)));
        assert!(matches!(read("."), Err(ReadError::Folder)));
        assert!(matches!(read("empty"), Err(ReadError::Empty)));
        assert!(matches!(read("blank"), Err(ReadError::Empty)));
        assert!(matches!(read("binary"), Err(ReadError::NotText { line: 3 })));
        assert!(matches!(read("huge"), Err(ReadError::TooLarge)));
        assert!(matches!(read("hole"), Err(ReadError::TooLarge)));
        assert!(read("loop").unwrap_err().to_string().contains("symbolic links"));
        assert!(matches!(read_text(Path::new("/dev/null"), Readers::Anybody), Err(ReadError::NotRegular)));
    }

    #[test]
    fn a_file_for_its_owner_alone_is_refused_where_others_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "x").unwrap();
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o610, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_text(&path, Readers::OwnerOnly).is_ok(), good, "{mode:o}");
        }
    }

    #[test]
    fn the_files_of_a_folder_come_in_byte_order_and_those_that_nobody_reads_apart() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let scratch = [
            ".hidden.toml",
            ".a.toml.swp",
            "y.toml~",
            "a.toml.bak",
            "a.toml.dpkg-dist",
            "a.toml.dpkg-old",
            "a.toml.rpmnew",
            "a.toml.rpmsave",
        ];
        let unread = ["10-c.tml", "20-d.TOML", "30-e.toml.example", "README", "toml"];
        for name in ["20-b.toml", "100-a.toml", "Z.toml", "a.toml"].iter().chain(&scratch).chain(&unread) {
            fs::write(path(name), "x").unwrap();
        }
        fs::create_dir(path("prod")).unwrap();
        let names = |paths: Vec<PathBuf>| -> Vec<String> {
            paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        };
        let found = folder(place.path()).unwrap();
        assert_eq!(names(found.read), ["100-a.toml", "20-b.toml", "Z.toml", "a.toml"]);
        let found = names(found.unread);
        assert_eq!(found, ["10-c.tml", "20-d.TOML", "30-e.toml.example", "README", "prod", "toml"]);
        assert!(folder(&path("absent")).unwrap().read.is_empty());
        assert!(folder(&path("a.toml")).is_err());
        for n in 0..=MAX_FILES {
            fs::write(path(&format!("{n}.toml")), "x").unwrap();
        }
        assert!(matches!(folder(place.path()), Err(ReadError::TooMany)));
    }
}
