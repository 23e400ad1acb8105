//! The files of a project, and what they are read with.
//!
//! **Source** — Docker documents § Set or change pre-defined environment variables in Docker Compose;
//! compose-go `cli/options.go`.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in help mark what is optional")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use xbuild_bake::{
    Given, Manner, Project, ProjectName, Setting, VariableFile, add_variables, normal_project_name,
};
use xbuild_wording::quoted;

use crate::commands::bake_files;
use crate::config::OnLineOnly;
use crate::environment;
use crate::report::Problem;

/// The options that say what the project is.
#[derive(Debug, clap::Args)]
pub(super) struct ProjectArgs {
    /// A compose file, or - for standard input (repeatable) [default: compose.yaml or
    /// docker-compose.yml, and its override]
    #[arg(short, long, value_name = "FILE", add = OnLineOnly)]
    file: Vec<PathBuf>,
    /// Name of the project, which the names of images without one begin with [default: that of the
    /// file, else of the folder]
    #[arg(short, long, value_name = "NAME", env = "COMPOSE_PROJECT_NAME", hide_env_values = true)]
    project_name: Option<String>,
    /// Folder that paths of the files are seen from [default: that of the first file]
    #[arg(long, value_name = "DIR", add = OnLineOnly)]
    project_directory: Option<PathBuf>,
    /// A file with variables (repeatable) [default: .env in the folder of the project]
    #[arg(long, value_name = "FILE", add = OnLineOnly)]
    env_file: Vec<String>,
    /// Also build the services of this profile; * for all (repeatable)
    #[arg(long, value_name = "PROFILE")]
    profile: Vec<String>,
}

/// A project, and what the command takes from its variables.
pub(super) struct Found {
    pub(super) project: Project,
    /// The profiles that are on.
    pub(super) profiles: Vec<String>,
    /// Variables below those of the environment.
    pub(super) variables: BTreeMap<String, String>,
}

/// Finds and reads the files of a project.
pub(super) fn read(args: &ProjectArgs) -> Result<Found, Problem> {
    bake_files::with_given(&[], |given| {
        let mut variables = BTreeMap::new();
        let mut warnings = Vec::new();
        let mut add = |variables: &mut BTreeMap<String, String>, list: &[VariableFile]| {
            let more = add_variables(variables, list, given).map_err(bake_files::problem)?;
            warnings.extend(more);
            Ok::<(), Problem>(())
        };
        let folder = args.project_directory.clone();
        let of_file = args.file.first().map(|file| folder_of(file));
        let first = folder.clone().or(of_file).unwrap_or_default();
        let named = variable_files(args);
        let is_usual = named.is_none();
        add(&mut variables, &named.unwrap_or_else(|| usual(&first)))?;
        let names = names(args, &variables, &first)?;
        // The variables of the current folder may name files of another one.
        let folder = folder.unwrap_or_else(|| folder_of(&names[0]));
        if is_usual && folder != first {
            add(&mut variables, &usual(&folder))?;
        }
        let files = names.iter().map(|path| bake_files::read(path));
        let files = files.collect::<Result<Vec<_>, _>>()?;
        let profiles = match args.profile.is_empty() {
            true => list(value("COMPOSE_PROFILES", given, &variables)),
            false => args.profile.clone(),
        };
        let setting = Setting {
            manner: Manner::Compose,
            name: project_name(args, value("COMPOSE_PROJECT_NAME", given, &variables), &folder)?,
            folder: text(&folder)?,
            variables,
        };
        let files: Vec<&xbuild_bake::File> = files.iter().collect();
        let project = Project::read(&files, given, &setting);
        let mut project = project.map_err(bake_files::problem)?;
        if project.name.is_empty() {
            return Err(no_name(&folder));
        }
        warnings.append(&mut project.warnings);
        project.warnings = warnings;
        Ok(Found { project, profiles, variables: setting.variables })
    })
}

/// Returns the value of a variable of the environment, else of the files; empty for none.
fn value(name: &str, given: &Given<'_>, variables: &BTreeMap<String, String>) -> String {
    let outside = (given.environment)(name);
    outside.or_else(|| variables.get(name).cloned()).unwrap_or_default()
}

fn list(text: String) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Returns the files of variables that are named; `None` for the usual one.
fn variable_files(args: &ProjectArgs) -> Option<Vec<VariableFile>> {
    let mut named = args.env_file.clone();
    if named.is_empty() {
        named = list(environment::variable("COMPOSE_ENV_FILES").unwrap_or_default());
    }
    let is_off = environment::variable("COMPOSE_DISABLE_ENV_FILE");
    let is_off = is_off.is_some_and(|value| matches!(value.as_str(), "1" | "true"));
    let required = |path| VariableFile { path, is_required: true };
    let named: Vec<VariableFile> = named.into_iter().map(required).collect();
    (is_off || !named.is_empty()).then_some(named)
}

/// Returns the file of variables that a folder may have.
fn usual(folder: &Path) -> Vec<VariableFile> {
    let path = folder.join(".env").display().to_string();
    vec![VariableFile { path, is_required: false }]
}

/// Returns the compose files, at least one.
fn names(
    args: &ProjectArgs,
    variables: &BTreeMap<String, String>,
    folder: &Path,
) -> Result<Vec<PathBuf>, Problem> {
    if !args.file.is_empty() {
        return Ok(args.file.clone());
    }
    let given = |name: &str| {
        let value = environment::variable(name).or_else(|| variables.get(name).cloned());
        value.filter(|text| !text.is_empty())
    };
    let separator = given("COMPOSE_PATH_SEPARATOR").unwrap_or_else(|| ":".to_owned());
    let listed = given("COMPOSE_FILE").unwrap_or_default();
    let named = listed.split(separator.as_str()).filter(|name| !name.is_empty());
    let named: Vec<PathBuf> = named.map(PathBuf::from).collect();
    if named.is_empty() { default_files(folder) } else { Ok(named) }
}

/// Returns the first of the usual compose files, and the first of their overrides: those of a folder,
/// else of the nearest one above that has one.
///
/// **Source** — Compose file reference § The Compose file; § Merge.
fn default_files(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    const FILES: &[&str] =
        &["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
    const OVERRIDES: &[&str] = &[
        "compose.override.yml",
        "compose.override.yaml",
        "docker-compose.override.yml",
        "docker-compose.override.yaml",
    ];
    let levels = absolute(folder).components().count();
    let mut folder = folder.to_path_buf();
    for _ in 0..levels {
        let first =
            |names: &[&str]| names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        if let Some(file) = first(FILES) {
            return Ok(std::iter::once(file).chain(first(OVERRIDES)).collect());
        }
        folder.push("..");
    }
    let names = FILES.join(", ");
    Err(Problem::input(format!("no compose file: none of {names} is here or in a folder above")))
}

/// Returns the folder of a file; empty for the current one.
fn folder_of(file: &Path) -> PathBuf {
    file.parent().map(Path::to_path_buf).unwrap_or_default()
}

fn text(folder: &Path) -> Result<String, Problem> {
    let text = folder.to_str().map(str::to_owned);
    let fail = || {
        let name = folder.display().to_string();
        Problem::input(format!("the folder {} of the project has no name in UTF-8", quoted(&name)))
    };
    text.ok_or_else(fail)
}

/// Returns the name that is given, in the environment or in a file of variables, else that of the
/// folder.
///
/// **Source** — Docker documents § Specify a project name.
fn project_name(
    args: &ProjectArgs,
    of_variables: String,
    folder: &Path,
) -> Result<ProjectName, Problem> {
    let given = args.project_name.clone().filter(|name| !name.is_empty()).unwrap_or(of_variables);
    if given.is_empty() {
        let folder = absolute(folder);
        let name = folder.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        return Ok(ProjectName::Default(normal_project_name(&name)));
    }
    if normal_project_name(&given) != given {
        return Err(Problem::command_line(format!(
            "invalid project name {name}: only small letters, digits, - and _ are in it, and it begins \
             with a letter or a digit",
            name = quoted(&given)
        )));
    }
    Ok(ProjectName::Given(given))
}

/// Returns a folder from the root on, without `.` and `..`.
fn absolute(folder: &Path) -> PathBuf {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    here.canonicalize().or_else(|_| std::path::absolute(here)).unwrap_or_default()
}

fn no_name(folder: &Path) -> Problem {
    let folder = absolute(folder).display().to_string();
    let reason = "no project name can be made of that of its folder; use --project-name";
    Problem::input(format!("{}: {reason}", quoted(&folder)))
}
