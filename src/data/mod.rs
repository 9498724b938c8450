//! The whole database at once: it is backed up, restored and moved.
//!
//! There is one mechanism for all of it. A [`Source`] shows every table as of one moment. [`fill`] copies the tables into a
//! new SQLite file or an empty PostgreSQL database, and a [`Survey`], which is the number of rows and a digest of every table,
//! says whether two databases hold the same. A copy is not seen before it is whole: a file has another name until then, and
//! PostgreSQL's rows are one transaction.

mod backup;
mod copy;
mod folder;
mod new_file;
mod survey;
mod table;

pub use backup::{Backup, before_migration, check, write};
pub use copy::{Copied, Source, fill};
pub use folder::Folder;
pub use survey::Survey;
