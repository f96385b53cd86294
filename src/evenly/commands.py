"""Commands as functions: each gives as plain values what its command prints with `--json`, and raises its errors.

Parameters are the command's options by their names in Python; `help(evenly.fit)` has them all.
"""

from evenly.flows.cli.adapters.effects import effects_command
from evenly.flows.cli.adapters.evaluate import base_to_new_command, evaluate_command, probe_command, sessions_command
from evenly.flows.cli.adapters.fit import export_adapter_command, fit_command, leaderboard_command, predict_command
from evenly.flows.cli.audit.audit import card_command
from evenly.flows.cli.audit.forget import forget_command
from evenly.flows.cli.audit.summary import facts_command, model_card_command, summary_command
from evenly.flows.cli.audit.trace import trace_command
from evenly.flows.cli.audit.upkeep import clean_command, doctor_command
from evenly.flows.cli.audit.what_if import what_if_command
from evenly.flows.cli.classes.batches import batches_command, cancel_command
from evenly.flows.cli.classes.describe import extract_command
from evenly.flows.cli.classes.descriptions import (
    audit_command,
    compare_command,
    export_descriptions_command,
    import_command,
    show_descriptions_command,
)
from evenly.flows.cli.command import in_python
from evenly.flows.cli.datasets.builds import check_command, init_command, plan_command, promote_command
from evenly.flows.cli.datasets.concepts import clusters_command, concepts_command, link_command, retrieve_command
from evenly.flows.cli.datasets.demo import demo_command
from evenly.flows.cli.datasets.metadata import build_command, show_metadata_command
from evenly.flows.cli.datasets.pools import balance_command, match_command
from evenly.flows.cli.datasets.regions import regions_command
from evenly.flows.cli.datasets.search import index_command
from evenly.flows.cli.encoders.commands import encode_command, encoders_command, tokens_command, tune_command
from evenly.flows.cli.encoders.refine import refine_build, tune_settings, worth_of_steps
from evenly.flows.cli.start.serve import deploy_command, serve_command

audit_descriptions = in_python(audit_command, "descriptions audit")
balance_pool = in_python(balance_command)
base_to_new = in_python(base_to_new_command)
batches = in_python(batches_command)
build_metadata = in_python(build_command, "metadata build")
cancel_batch = in_python(cancel_command, "batches cancel")
card = in_python(card_command)
check = in_python(check_command)
clean = in_python(clean_command)
clusters = in_python(clusters_command)
compare_descriptions = in_python(compare_command, "descriptions compare")
concepts = in_python(concepts_command)
count_tokens = in_python(tokens_command, "encoders tokens")
deploy = in_python(deploy_command)
doctor = in_python(doctor_command)
encode_files = in_python(encode_command)
encoders = in_python(encoders_command)
effects = in_python(effects_command)
evaluate = in_python(evaluate_command)
export_adapter = in_python(export_adapter_command)
export_descriptions = in_python(export_descriptions_command, "descriptions export")
extract = in_python(extract_command)
facts = in_python(facts_command)
fit = in_python(fit_command)
forget = in_python(forget_command)
import_descriptions = in_python(import_command, "descriptions import")
index = in_python(index_command)
init = in_python(init_command)
leaderboard = in_python(leaderboard_command)
link = in_python(link_command)
match_pool = in_python(match_command)
model_card = in_python(model_card_command)
plan = in_python(plan_command)
predict = in_python(predict_command)
probe = in_python(probe_command)
promote = in_python(promote_command)
refine = in_python(refine_build, "refine")
regions = in_python(regions_command)
retrieve = in_python(retrieve_command)
run_demo = in_python(demo_command)
serve = in_python(serve_command)
sessions = in_python(sessions_command)
show_descriptions = in_python(show_descriptions_command, "descriptions show")
show_metadata = in_python(show_metadata_command, "metadata show")
summary = in_python(summary_command)
trace = in_python(trace_command)
tune = in_python(tune_settings, "tune")
tune_encoder = in_python(tune_command, "encoders tune")
what_if = in_python(what_if_command)
worth = in_python(worth_of_steps, "worth")
