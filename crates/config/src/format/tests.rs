use super::*;

#[track_caller]
fn check(text: &str, expected: &str) {
    let formatted = format(text).unwrap();
    assert_eq!(formatted, expected, "{formatted}");
    assert_eq!(format(&formatted).unwrap(), formatted, "it is not stable");
}

#[test]
fn keys_are_put_in_the_order_of_the_table() {
    check(
        "[pools.web]\nbackends=['app1']\npolicy = \"random\"\n",
        "[pools.web]\npolicy = \"random\"\nbackends = [\"app1\"]\n",
    );
    check(
        "[pools.b]\n[listeners.b]\n[pools.a]\n[process]\n",
        "[pools.b]\n\n[listeners.b]\n\n[pools.a]\n\n[process]\n",
    );
    check("[pools.a]\nzz = 1\naa = 2\npolicy = 3\n", "[pools.a]\npolicy = 3\nzz = 1\naa = 2\n");
}

#[test]
fn comments_stay_with_what_they_are_about() {
    check(
        "#:schema ./a.json\n\n# The web.\n[pools.web] # main\n\n\n  # Names\n  backends = ['a'] # two\n  \
         # How\n  policy = 'hash'\n# the end\n",
        "#:schema ./a.json\n\n# The web.\n[pools.web] # main\n# How\npolicy = \"hash\"\n# Names\n\
         backends = [\"a\"] # two\n# the end\n",
    );
    check(
        "[pools.a]\n# About this pool.\n\n# Its members.\nbackends = ['a']\npolicy = 'hash'\n",
        "[pools.a]\n# About this pool.\n\npolicy = \"hash\"\n# Its members.\nbackends = [\"a\"]\n",
    );
    check(
        "[pools.a]\nbackends = ['a']\n# policy = 'hash'\n\n# The other one.\n[pools.b]\n",
        "[pools.a]\nbackends = [\"a\"]\n# policy = 'hash'\n\n# The other one.\n[pools.b]\n",
    );
    check("# only\n\n\n# comments", "# only\n\n# comments\n");
    check("", "");
    check("\n\n", "");
}

#[test]
fn values_have_one_spelling() {
    check(
        "[listeners.a]\nbind='80'\nmax-sessions=20_000\nidle-timeout=3600\nlinger='120s'\n\
         connect-timeout=\"${T:-5}\"\nkeep-alive='0'\nshutdown-timeout='0'\n",
        "[listeners.a]\nbind = 80\nmax-sessions = 20000\nconnect-timeout = \"${T:-5}\"\n\
         idle-timeout = \"1h\"\nlinger = \"2m\"\nkeep-alive = \"never\"\nshutdown-timeout = \"0s\"\n",
    );
    check(
        "[listeners]\na = '''80 app1'''\n\"b\" = 'x\"y'\n",
        "[listeners]\na = '''80 app1'''\nb = 'x\"y'\n",
    );
    check(
        "[pools.a]\nbackends = [{weight=2,to='a', 'name' = \"b\"}]\naccess=['allow   ::1']\n",
        "[pools.a]\naccess = [\"allow ::1\"]\nbackends = [{ to = \"a\", name = \"b\", weight = 2 }]\n",
    );
}

#[test]
fn lists_over_several_lines_have_one_item_per_line() {
    check(
        "[pools.a]\nbackends = ['a', # first\n  # second\n\n\n    'b', 'c' # third\n ]\n",
        "[pools.a]\nbackends = [\n  \"a\", # first\n  # second\n\n  \"b\",\n  \"c\", # third\n]\n",
    );
    check(
        "[pools.a]\ntiers = [\n['a','b'], ['c', 'd']]\n",
        "[pools.a]\ntiers = [\n  [\"a\", \"b\"],\n  [\"c\", \"d\"],\n]\n",
    );
    let name = "x".repeat(40);
    check(
        &format!("[pools.a]\nbackends = ['{name}', '{name}', '{name}']\n"),
        &format!("[pools.a]\nbackends = [\n  \"{name}\",\n  \"{name}\",\n  \"{name}\",\n]\n"),
    );
    check("[pools.a]\nbackends = [\n]\n", "[pools.a]\nbackends = []\n");
    check("[pools.a]\nbackends = [ # none\n]\n", "[pools.a]\nbackends = [ # none\n]\n");
}

#[test]
fn dotted_keys_arrays_of_tables_and_crlf_are_kept() {
    check(
        "process . user = 'a' # who\r\npools.web.tiers = [['a']]\r\n\r\n[[pools.db.tiers]]\r\nbackends=['a']\r\n\
         policy='hash'\r\n[[pools.db.tiers]]\r\nbackends=['b']\r\n",
        "process.user = \"a\" # who\npools.web.tiers = [[\"a\"]]\n\n[[pools.db.tiers]]\npolicy = \"hash\"\n\
         backends = [\"a\"]\n\n[[pools.db.tiers]]\nbackends = [\"b\"]\n",
    );
}

#[test]
fn what_is_not_toml_is_refused() {
    let error = format("[pools.a]\nbackends = ['a'\n").unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
}
