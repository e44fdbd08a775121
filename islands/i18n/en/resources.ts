/** Texts of the pages of configurations, variables, pools and suites. */
export const resources = {
  "resource.configuration": "configuration",
  "resource.variable": "variable",
  "resource.pool": "pool",
  "resource.suite": "suite",
  "resource.dataset": "columns of dataset",
  "resource.new": "New {noun}",
  "resource.edit": "Change {noun} {name}",
  "resource.saved": "{name} is saved.",
  "resource.removed": "{name} is removed.",
  "resource.remove_title": "Remove {name}?",
  "resource.run_one": "Run {name} now",
  "resource.edit_one": "Change {name}",
  "resource.remove_one": "Remove {name}",
  "resource.actions": "Actions",
  "resource.updated": "Changed",
  "resource.waiting": "Waiting",
  "resource.origin": "From",
  "resource.from_file": "a file",
  "resource.from_api": "a person",
  "resource.expectations": "Expectations",
  "resource.description_help": "For whoever looks at it later; may be empty",
  "resource.not_json": "This is not JSON: {message}",
  "resource.conf": "Values",
  "resource.conf_help": "Parameters of a run as JSON; whoever runs it can override each",
  "resource.configurations_about":
    "Saved values for the parameters of a run, to be run by name from the API, the command line, SQL or a schedule.",
  "resource.configurations_empty":
    "No configuration yet. Save one here, or from the form for a new run.",
  "resource.configuration_removal":
    "Requests and schedules that use it by name will be refused from now on. Runs that used it keep their values.",
  "resource.value": "Value",
  "resource.value_help": "JSON: a number, a text in quotes, true or false, a list, an object",
  "resource.variables_about":
    "A variable named etl_improved__<parameter> is the value of that parameter wherever neither the request nor its configuration gives one. Other names are free for transforms and consumers.",
  "resource.variables_empty":
    "No variable yet. Create etl_improved__batch_size, for example, to change a default.",
  "resource.variable_removal":
    "Runs that are asked for from now on fall back to the environment or the default.",
  "resource.slots": "Slots",
  "resource.slots_help": "Runs at once; 0 stops the pool, running ones go on",
  "resource.pools_about":
    "A pool limits how many of its runs go on at once; further ones wait in the order in which they were asked for.",
  "resource.pools_empty": "There is no pool.",
  "resource.pool_removal":
    "A pool that runs have used cannot be removed; set its slots to 0 instead.",
  "resource.suite_json": "Suite",
  "resource.suite_help": "The JSON of Great Expectations 0.18 or 1.x",
  "resource.suites_about":
    "A suite says what has to hold for a batch. A run is judged by the suite that it names, else by the one named as its table.",
  "resource.suites_empty": "No suite yet. Create one, named as the table whose batches it judges.",
  "resource.suite_removal":
    "Runs with enforce_ge will be refused where no other suite is found; others go on without being judged.",
  "resource.view": "Typed view",
  "resource.columns": "Columns",
  "resource.columns_help":
    "A JSON list of {name, path, type}: text, integer, numeric, boolean, date, timestamptz or jsonb",
  "resource.datasets_about":
    "Tables that runs write. Declared columns give one a typed view, so that whoever queries it writes names instead of JSON paths.",
  "resource.datasets_empty": "No dataset yet. The first run into a table makes one.",
  "resource.dataset_removal":
    "The typed view and its columns are removed; the table stays. Queries on the view fail from now on.",
  "resource.propose": "Propose from the data",
  "resource.proposed": "These columns fit {rows} rows. Change what you like, then save.",
  "resource.try": "Try it on a sample",
  "resource.sample": "Records",
  "resource.judge": "Judge the sample",
} as const;
