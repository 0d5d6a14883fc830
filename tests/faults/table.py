"""The faults F1 to F30: what is injected, when a try counts as passed, and which tests try it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One line of the report.

    Attributes
    ----------
    injected : str
    figure : str
        What must come of it.
    tests : tuple of str
        ``file::function`` below tests/.
    limits : str
        What these tests cannot show, and why.
    """

    injected: str
    figure: str
    tests: tuple[str, ...] = ()
    limits: str = ""


def _in(file: str, *functions: str) -> tuple[str, ...]:
    return tuple(f"{file}.py::test_{function}" for function in functions)


_KILL, _DISK, _CUTOUTS = "faults/test_kill", "faults/test_disk", "faults/test_cutouts"
_AROUND, _MODELS, _CATALOGS = "faults/test_surroundings", "faults/test_models", "predict/test_catalogs"

FAULTS: dict[str, Fault] = {
    "F1": Fault(
        "kill -9 of the process group at random moments, at named commit points and at changes of the disk, ~40 tiles",
        "the next run writes the same bytes, makes no finished tile again and leaves no stray file",
        _in(_KILL, "killed_at_random_moments", "killed_again_and_again", "killed_at_commit_points",
            "killed_at_changes_of_the_disk", "killed_while_it_replaces_a_table", "kept_tiles_hold_nothing_half_written")
        + _in("faults/test_kill_hats", "killed_while_the_folder_is_built", "killed_while_it_replaces_a_folder")
        + _in("predict/test_resume", "resumed_run_does_not_repeat_tiles_and_gives_the_same_bytes"),
    ),
    "F2": Fault(
        "SIGTERM, SIGINT, SIGUSR1, SIGHUP; a second Ctrl-C",
        "exit 75 within 10 s (130 for the second Ctrl-C), then the same bytes",
        _in(_KILL, "asked_to_stop_a_run_ends_in_order_and_can_go_on", "asked_to_stop_while_files_are_decoded",
            "signal_during_the_merge_keeps_the_tiles", "second_interrupt_ends_at_once"),
    ),
    "F3": Fault(
        "one worker of a pool, of a site or of 4 shards killed in the middle of a tile; a tile that kills each worker, is "
        "slow, or has a fault; the driver killed or stopped; Parsl's interchange killed",
        "tried 3 times at most, other tiles unharmed, the same bytes; else given up with exit 3; no process is left",
        _in("faults/test_workers", "worker_killed_in_the_middle_of_a_tile", "tile_that_kills_every_worker_is_given_up",
            "tile_that_is_slow_delays_no_other", "fault_in_a_tile_is_tried_again_and_explained",
            "run_in_which_no_tile_works_ends", "full_disk_in_a_worker_ends_the_run", "asked_to_stop_all_workers_end",
            "killed_driver_leaves_no_worker", "site_whose_interchange_dies_ends_the_run")
        + _in("faults/test_read_errors", "killed_worker_of_four")
        + _in(_KILL, "shard_killed_at_any_time_leaves_nothing_half_done"),
        "SLURM is a made-up one of one machine; no real cluster, and no node that is lost as a whole",
    ),
    "F4": Fault(
        "disk full: a real tmpfs of many sizes, a limit of the kernel, ENOSPC at each change of the disk",
        "exit 6 with one error and one hint, no damaged tile; with room the same command writes the same bytes",
        _in("faults/test_small_disk", "disk_that_fills_up")
        + _in(_DISK, "disk_that_refuses_one_change", "disk_that_stays_full", "file_size_limit")
        + _in("faults/test_kill_hats", "full_disk_while_the_folder_is_built"),
    ),
    "F5": Fault(
        "EIO at the n-th read and at the n-th change of the disk, for each n: calls of Python, and those of the kernel "
        "(cfitsio's and Arrow's too)",
        "a refusal of two lines or a row with a status; every other row the same bytes; the next run is right",
        _in("faults/test_read_errors", "failing_read") + _in("faults/test_system_calls", "read_that_the_kernel_refuses")
        + _in(_DISK, "disk_that_refuses_one_change")
        + _in("cutouts/test_stack_faults", "file_that_can_no_longer_be_read"),
        "pages of mapped files (the INDEX table of a stack of more than a million entries, the plan of a run): the kernel "
        "ends a process that cannot read them, and the run goes on when it is given again",
    ),
    "F6": Fault(
        "cutouts cut at random places: FITS, .gz, .fz, JPEG, PNG, plain and Rice stacks, large images; empty; an error page",
        "CORRUPT_CUTOUT with nulls, neighbours bit for bit as before (cuts in the padding after the pixels lose nothing)",
        _in("cutouts/test_files", "200_truncations", "garbage") + _in("cutouts/test_display", "truncated_at_200_places")
        + _in("cutouts/test_stack_faults", "200_truncations", "garbage")
        + _in(_CUTOUTS, "neighbours_are_bit_identical", "damaged_stack_costs_its_own_rows",
              "broken_pictures_among_good_ones")
        + _in("cutouts/test_coadd_faults", "damaged_image_costs_its_own_rows"),
    ),
    "F7": Fault(
        "single bits flipped in cutouts with checksums",
        "all found; files without checksum are counted in the summary",
        _in("cutouts/test_files", "100_flipped_bits")
        + _in("cutouts/test_stack_faults", "flipped_pixels_are_all_found", "100_flipped_bits")
        + _in(_CUTOUTS, "everything_at_once"),
    ),
    "F8": Fault(
        "pixels all NaN, one NaN, infinite, zero, constant, 1e30",
        "the documented status, no NaN without a status bit, neighbours bit for bit as before",
        _in(_CUTOUTS, "neighbours_are_bit_identical") + _in("cutouts/test_files", "no_signal_and_odd_values"),
    ),
    "F9": Fault(
        "big-endian, float64, int16 with BZERO, uint8, strided and read-only arrays",
        "the answer of native float32, bit for bit",
        _in("models/test_session", "byte_order_and_layout_do_not_matter")
        + _in("cutouts/test_files", "type_orientation_and_band_order_matrix")
        + _in("predict/test_pixels", "orientation_band_order_and_number_type"),
    ),
    "F10": Fault(
        "2-D, (H, W, 3), other band order, no BANDS, OVERLAP = F, scale off by 1 % and twofold, wrong size, further HDUs",
        "brought in order or refused by name; never a guess",
        _in("cutouts/test_files", "compressed_and_packed_forms", "single_band_is_two_dimensional",
            "first_file_without_bands", "position_and_overlap")
        + _in("predict/test_pixels", "bands_option_names_the_planes_in_file_order",
              "model_whose_bands_are_not_there_is_refused")
        + _in(_AROUND, "wrong_pixel_scale_is_resampled", "wrong_size_costs_its_own_row"),
    ),
    "F11": Fault("BSOFTEN and BOFFSET, present and absent", "linear flux to 1e-6, or untouched",
                 _in("cutouts/test_header", "softening_is_undone")
                 + _in("cutouts/test_coadds", "asinh_stacks_are_linear_after_reading")
                 + _in("cutouts/test_download_panstarrs", "asinh_scaled_images_become_linear")),
    "F12": Fault(
        "RA and Dec NaN, infinite, -10, 360, 400, 90, 91, in hours, masked",
        "good ones in their pixel at every order; bad ones BAD_COORD and counted",
        _in("sky/test_healpix", "bad_positions_have_no_pixel", "right_ascension_wraps", "orders_are_nested",
            "any_numbers_give_a_pixel_or_none")
        + _in("sky/test_catalog", "other_units_are_refused", "null_coordinates_are_nan")
        + _in(_CATALOGS, "bad_coordinates_cost_their_own_row_only"),
    ),
    "F13": Fault(
        "random positions, poles, borders of tiles against cdshealpix; sums of rows",
        "the same pixel but for positions on a border to the last digit; each row in one tile",
        _in("faults/test_sky", "pixels_of_a_second_library", "borders_of_tiles", "rows_in_are_rows_out"),
    ),
    "F14": Fault(
        "identifiers: duplicates, beyond 2^53, unsigned, text with padding, none",
        "unchanged to the last digit; duplicates stay rows of their own",
        _in(_CATALOGS, "identifiers_come_back_to_the_last_digit", "duplicates_are_rows_of_their_own",
            "catalogue_without_identifiers_is_found_by_position")
        + _in("sky/test_catalog", "identifiers_are_kept_to_the_last_digit", "text_identifiers_lose_only_their_padding"),
    ),
    "F15": Fault(
        "catalogue cut, without rows, one row, 999 columns, variable-length, TNULL, scaled, gz, fz; CSV, ECSV, VOTable, "
        "Parquet and HATS cut, with flipped bytes, incomplete",
        "right, or exit 4 that names file and column",
        _in("sky/test_rows", "every_truncation_is_an_input_error", "damage_is_named", "integer_nulls_and_scaled_nulls",
            "columns_of_other_kinds_are_refused_only_when_asked_for", "damaged_fpacked_table",
            "header_that_contradicts_itself")
        + _in("sky/test_catalog", "tiny_catalogues", "a_thousand_columns")
        + _in(_CATALOGS, "unusable_catalogue_is_refused_by_name", "columns_are_passed_through_unchanged",
              "gzipped_and_plain_catalogues_say_the_same")
        + _in("sky/test_damage", "flipped_and_cut_bytes")
        + _in("sky/test_delimited", "broken_text_is_refused_with_its_place", "a_broken_row_far_down_is_counted")
        + _in("sky/test_hats", "incomplete_catalogue_is_refused") + _in("sky/test_parquet", "few_rows"),
    ),
    "F16": Fault(
        "catalogue, cutouts, model, settings, version of galcli or onnxruntime changed between run and resume",
        "exit 4 with the difference; --restart begins anew",
        _in("predict/test_resume", "changed_run_is_refused_with_the_difference",
            "changed_run_does_not_replace_a_table") + _in(_AROUND, "other_version_does_not_go_on"),
    ),
    "F17": Fault(
        "ONNX files cut, with flipped bits, empty, text, of another opset, with data elsewhere, custom operators, 2 GB",
        "shipped models and those that galcli exported: refused, or the same values (damage to the seal alone); foreign "
        "ones: exit 5 or a run that does not crash; no other file opened",
        _in(_MODELS, "damage_to_a_shipped_model_is_always_found", "damage_to_a_users_model_never_crashes",
            "files_that_are_no_usable_model")
        + _in("models/test_library", "no_other_file_is_opened_for_a_model", "changed_file_is_not_opened",
              "what_is_no_file_is_not_read"),
        "a flipped weight in a model file that carries no seal is not noticed, since nobody knows its SHA-256: see the notes",
    ),
    "F18": Fault(
        "pickles as .pth, .pt, .npz, a zip bomb, a member outside its folder, as --init, --model and models show; damaged "
        "state dicts",
        "exit 5, the canary is not run; nothing but a refusal of galcli's own",
        _in(_MODELS, "hostile_files_are_not_run", "damaged_state_dict_is_read_or_refused"),
    ),
    "F19": Fault("safetensors checkpoints cut and with flipped bits", "refused", _in(_MODELS, "damaged_checkpoint"),
                 "checkpoints of others, and those written before they carried a SHA-256, are taken as they are"),
    "F20": Fault("--device cuda without a GPU, or a session that fell back to the CPU", "exit 5 before any work",
                 _in("cli/test_refusals", "5_device_that_is_not_there",
                     "5_device_that_the_runtime_does_not_really_use")),
    "F21": Fault(
        "memory of the device runs out for a batch, in a lane and without; for a single cutout",
        "the batch is halved, the run goes on, the same bytes; exit 5",
        _in("predict/test_lanes", "batch_that_memory_does_not_hold_is_halved",
            "memory_that_does_not_hold_one_cutout_ends_the_run")
        + _in("models/test_session", "memory_that_runs_out_is_told_from_other_failures"),
        "the failure is injected, with the CPU standing in for a GPU",
    ),
    "F22": Fault(
        "batch sizes 1, 7, 64, a short last batch, 1 to 3 threads", "bit for bit the same",
        _in("models/test_session", "cpu_is_bit_identical_over_batches_and_threads", "padding_to_powers_of_two")
        + _in("predict/test_determinism", "bytes_do_not_depend_on_how_the_work_is_cut")
        + _in("predict/test_lanes", "lanes_change_no_byte")
        + _in("models/test_bound", "rows_are_those_of_a_plain_run_whatever_lay_there_before"),
        "on the CPU, also in the lanes of a GPU; that a GPU's digits depend on the padded shape alone was not seen on one",
    ),
    "F23": Fault(
        "two runs on one output; shards together; disks without locks, leases of the dead, clocks that differ",
        "one works and the other is refused with exit 6, or they share the tiles; the same bytes",
        _in("predict/test_shards", "second_run_of_the_same_output_is_refused", "eight_shards_at_once",
            "shard_leaves_tiles_of_a_living_one_and_takes_those_of_a_dead_one",
            "lock_of_a_run_that_was_removed_meanwhile_is_not_taken")
        + _in("predict/test_lease", "lease_of_a_dead_process_is_taken_over", "living_holder_renews_its_lease",
              "shards_and_merge_equal_one_run"),
        "several machines: ages of leases are read from the disk's clock, never from a machine's",
    ),
    "F24": Fault(
        "output read-only, with spaces, UTF-8, line breaks, very long, a loop of links, a device",
        "works, or exit 6 in two lines",
        _in("faults/test_small_disk", "read_only_disk")
        + _in(_DISK, "strange_names", "error_of_a_name_with_a_line_break_is_one_line", "devices_are_not_replaced",
              "output_in_a_place_that_is_no_folder", "surveys_in_folders_with_strange_names")
        + _in("tables/test_atomic", "impossible_places"),
    ),
    "F25": Fault("ten times as many rows", "peak memory grows by less than 10 %",
                 _in(_AROUND, "memory_does_not_grow_with_the_catalogue")),
    "F26": Fault("20,000 small tiles; one huge tile", "planned within 5 s; split",
                 _in(_AROUND, "twenty_thousand_small_tiles", "one_huge_tile_is_split")
                 + _in("sky/test_tiles", "one_position_is_cut_into_parts")),
    "F27": Fault(
        "other readers: astropy verify('exception'), fitsverify, STILTS, pandas; UCDs and units by astropy",
        "no error, no warning, every row",
        _in(_AROUND, "fitsverify_finds_nothing", "stilts_reads_every_row", "pandas_reads_every_row")
        + _in("predict/test_output", "astropy_opens_it_without_a_warning", "every_column_is_explained"),
    ),
    "F28": Fault("another locale, time zone, hash seed, umask, folder", "the same bytes",
                 _in(_AROUND, "bytes_do_not_depend_on_umask")
                 + _in("predict/test_determinism", "bytes_do_not_depend_on_locale_or_time_zone",
                       "bytes_do_not_depend_on_where_the_survey_lies", "loose_files_give_the_same_bytes_twice")),
    "F29": Fault(
        "no network; a service that answers 429, 503, too late, too little, an error page, garbage, or hangs up",
        "every other command works and asks for no connection; a download tries again with pauses, keeps no half file",
        _in(_AROUND, "everything_works_without_a_network")
        + _in("cutouts/test_download_faults", "bad_answer_costs_its_row_only", "service_that_takes_too_long",
              "trouble_that_passes_is_no_problem", "a_pause_asked_for_holds_for_all",
              "tries_are_further_and_further_apart", "never_more_requests_at_a_time_than_allowed",
              "never_more_requests_per_second_than_allowed", "port_where_nobody_listens_ends_the_download")
        + _in("cli/test_cutouts_download", "stopped_at_any_moment_nothing_half_is_kept"),
        "the services are made up: the real ones were never asked",
    ),
    "F30": Fault(
        "garbage on every option and argument of every command; any bytes as catalogue, cutout or large image",
        "a documented exit code in two lines, never a traceback; rows and pixels, or an error of galcli's own",
        _in("faults/test_garbage", "garbage_after_every_option", "garbage_as_arguments",
            "unknown_command_and_option_come_with_a_suggestion")
        + _in("faults/test_bytes", "any_bytes") + _in("cli/test_refusals", "bad_value_is_a_usage_error"),
    ),
}  # fmt: skip
