//! Reads the files and the environment, and combines them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::{self, Whole};
use super::checked::Loaded;
use super::document;
use super::environment::Environment;
use super::files::{self, ReadError, Readers, read_text};
use super::overrides;
use super::problem::{MAX_PROBLEMS, Problem, Problems};
use super::schema::{Key, Masking};
use super::section::Tree;
use super::sections;

/// The folder of more policies, beside the config file in use.
pub const POLICY_FOLDER: &str = "policies.d";

/// Returns the control socket of a configuration with problems, so that commands still reach a
/// running daemon. `None`: the configuration turns it off.
pub fn control_socket_despite_problems(path: &Path, env: &Environment) -> Option<PathBuf> {
    let text = read_text(path, Readers::Anybody).unwrap_or_default();
    let written = text.parse::<toml::Table>().ok();
    let written = written.as_ref().and_then(|file| file.get("control")?.get("socket")?.as_str());
    match written {
        Some("") => None,
        Some(socket) => Some(socket.into()),
        None => Some(sections::control_socket(env)),
    }
}

/// A file's text with its name.
#[derive(Clone)]
pub struct FileText {
    /// The name in messages.
    pub file: PathBuf,
    /// The text.
    pub text: String,
}

/// What to do if there is no config.toml yet.
const TO_BEGIN_WITH: &str = "give its path with --config, or create it from minimal.toml with policies.d beside it (config/ of the sources, examples/ of the package)";

/// What to do where something else lies in the place of the folder of policies.
const FOLDER_OF_POLICIES: &str = "make it a folder, and move policies into files in it whose names end in .toml: policies.d/50-policies.toml";

/// Reads config.toml at `path`, the files of `policies.d` beside it, and the overrides of the environment.
///
/// # Errors
/// All problems of all files, with the warnings among them.
pub fn load(path: &Path, env: &Environment) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let main = read(path, Some(TO_BEGIN_WITH), &mut problems);
    let folder = path.parent().unwrap_or_else(|| Path::new("")).join(POLICY_FOLDER);
    let found = files::folder(&folder);
    let is_folder = found.is_ok();
    let files = found.unwrap_or_else(|error| {
        let problem = Problem::error(error.to_string()).in_file(&folder);
        problems.push(match error {
            ReadError::NotFolder => problem.with_hint(FOLDER_OF_POLICIES),
            _ => problem,
        });
        files::Folder::default()
    });
    problems.extend(files.unread.iter().take(MAX_PROBLEMS).map(|file| {
        let message = "the daemon does not read this: only files whose names end in .toml hold policies";
        let hint = "rename it so that its name ends in .toml, or move it to another folder";
        Problem::error(message).as_warning().in_file(file).with_hint(hint)
    }));
    let policies: Vec<FileText> =
        files.read.iter().filter_map(|file| read(file, None, &mut problems)).collect();
    let all_are_read = is_folder && policies.len() == files.read.len();
    let order: Vec<PathBuf> = std::iter::once(path.to_owned()).chain(files.read).collect();
    put_together(main.as_ref(), (&policies, all_are_read), env, problems, &order)
}

/// Does the same for texts that were read already: `main` is config.toml, and `policies` follow its
/// own, in this order. It reads only the files of `ca_file`.
///
/// # Errors
/// As [`load`].
pub fn load_texts(main: &FileText, policies: &[FileText], env: &Environment) -> Result<Loaded, Problems> {
    let order: Vec<PathBuf> = std::iter::once(main).chain(policies).map(|text| text.file.clone()).collect();
    put_together(Some(main), (policies, true), env, Vec::new(), &order)
}

/// `absent`: what to do if there is nothing.
fn read(path: &Path, absent: Option<&str>, problems: &mut Vec<Problem>) -> Option<FileText> {
    match read_text(path, Readers::Anybody) {
        Ok(text) => Some(FileText { file: path.to_owned(), text }),
        Err(error) => {
            let problem = Problem::error(error.to_string()).in_file(path);
            let absent = absent.filter(|_| matches!(error, ReadError::Missing | ReadError::Empty));
            problems.push(match absent {
                Some(hint) => problem.with_hint(hint),
                None => problem,
            });
            None
        }
    }
}

/// `all_are_read`: no file of policies is missing among the texts.
fn put_together(
    main: Option<&FileText>,
    (policies, all_are_read): (&[FileText], bool),
    env: &Environment,
    mut problems: Vec<Problem>,
    order: &[PathBuf],
) -> Result<Loaded, Problems> {
    let keys = check::keys();
    let masking = Arc::new(Masking::new(keys.clone()));
    let mut parse = |text: &FileText| {
        let (layer, found) = document::parse(&text.file, &text.text, &masking);
        problems.extend(found);
        layer
    };
    let main = main.and_then(&mut parse);
    let known: Arc<[Key]> = keys.clone().into();
    let wanted = policies.len();
    let policies: Vec<_> =
        policies.iter().filter_map(parse).map(|layer| Tree::of(vec![layer], &known)).collect();
    // Without a file, what is said elsewhere is still checked, but not against what it might have said.
    let whole = Whole { main: main.is_some(), policies: all_are_read && policies.len() == wanted };

    let (overrides, found) = overrides::layer(&keys, env);
    problems.extend(found);
    let tree = Tree::of(main.into_iter().chain([overrides]).collect(), &known);
    let configuration = check::check(&tree, &policies, whole, env);
    let trees: Vec<Tree> = std::iter::once(tree).chain(policies).collect();
    let origins = trees.iter().flat_map(Tree::labelled_origins).collect();
    let places = trees.iter().flat_map(Tree::places).collect();
    problems.extend(trees.into_iter().flat_map(Tree::into_problems));

    let problems = Problems::in_order(problems, order);
    match configuration {
        Some(configuration) if !problems.has_errors() => {
            Ok(Loaded { configuration, warnings: problems.0, origins, places })
        }
        _ => Err(problems),
    }
}
