use super::*;
use crate::scope::World;

fn call(name: &str, args: &[Value]) -> Result<Value, String> {
    let world = World { now: 1_700_000_000, home: "/home/u".to_owned(), random: || [7; 16] };
    super::call(name, args, &world)
}

fn json(text: &str) -> Vec<Value> {
    match Value::from_json(serde_json::from_str(text).unwrap()).unwrap() {
        Value::List(values) => values,
        one => vec![one],
    }
}

#[test]
fn functions_return_what_the_documents_say() {
    for (name, args, expected) in [
        ("add", "[1, 2]", "3"),
        ("absolute", "[-3]", "3"),
        ("and", "[true, false]", "false"),
        ("base64encode", r#"["hi"]"#, r#""aGk=""#),
        ("base64decode", r#"["aGk="]"#, r#""hi""#),
        ("basename", r#"["/a/b/c.txt"]"#, r#""c.txt""#),
        ("ceil", "[1.2]", "2"),
        ("chomp", r#"["a\r\n\n"]"#, r#""a""#),
        ("chunklist", "[[1,2,3], 2]", "[[1,2],[3]]"),
        ("cidrhost", r#"["10.12.112.0/20", 16]"#, r#""10.12.112.16""#),
        ("cidrhost", r#"["10.12.112.0/20", -1]"#, r#""10.12.127.255""#),
        ("cidrhost", r#"["fd00:fd12:3456:7890:00a2::/72", 34]"#, r#""fd00:fd12:3456:7890::22""#),
        ("cidrnetmask", r#"["172.16.0.0/12"]"#, r#""255.240.0.0""#),
        ("cidrsubnet", r#"["172.16.0.0/12", 4, 2]"#, r#""172.18.0.0/16""#),
        (
            "cidrsubnets",
            r#"["10.1.0.0/16", 4, 4, 8, 4]"#,
            r#"["10.1.0.0/20","10.1.16.0/20","10.1.32.0/24","10.1.48.0/20"]"#,
        ),
        ("coalesce", r#"[null, "a", "b"]"#, r#""a""#),
        ("compact", r#"[["a", "", "b", null]]"#, r#"["a","b"]"#),
        ("contains", r#"[["a","b"], "b"]"#, "true"),
        ("csvdecode", r#"["a,b\n1,2\n3,\"4,5\"\n"]"#, r#"[{"a":"1","b":"2"},{"a":"3","b":"4,5"}]"#),
        ("dirname", r#"["/a/b/c.txt"]"#, r#""/a/b""#),
        ("distinct", "[[1,2,1]]", "[1,2]"),
        ("element", r#"[["a","b"], 3]"#, r#""b""#),
        ("flatten", "[[1,[2,[3]]]]", "[1,2,3]"),
        (
            "format",
            r#"["%s-%03d %.2f %v %q %%", "a", 7, 1.5, true, "x"]"#,
            r#""a-007 1.50 true \"x\" %""#,
        ),
        ("format", r##"["%#v %-4s| %+d %x", [1], "a", 5, 255]"##, r#""[1] a   | +5 ff""#),
        (
            "formatdate",
            r#"["DD MMM YYYY hh:mm ZZZ", "2018-01-02T23:12:01Z"]"#,
            r#""02 Jan 2018 23:12 UTC""#,
        ),
        (
            "formatdate",
            r#"["EEEE, DD-MMM-YY hh:mm:ss Z 'o''clock'", "2018-01-02T23:12:01-08:00"]"#,
            r#""Tuesday, 02-Jan-18 23:12:01 -08:00 o'clock""#,
        ),
        ("formatlist", r#"["%s!", ["a","b"]]"#, r#"["a!","b!"]"#),
        ("formattimestamp", r#"["X", "2015-10-21T00:00:00Z"]"#, "\"1445385600\""),
        ("formattimestamp", r#"["YYYY", 1445385600]"#, "\"2015\""),
        ("indent", r#"[2, "a\nb"]"#, r#""a\n  b""#),
        ("indexof", r#"[["a","b"], "b"]"#, "1"),
        ("join", r#"["-", ["a","b"], ["c"]]"#, r#""a-b-c""#),
        ("jsonencode", r#"[{"a":[1,true,null,"<"]}]"#, r#""{\"a\":[1,true,null,\"\\u003c\"]}""#),
        ("keys", r#"[{"b":1,"a":2}]"#, r#"["a","b"]"#),
        ("length", r#"[["a"]]"#, "1"),
        ("lookup", r#"[{"a":1}, "b", 9]"#, "9"),
        ("max", "[1, 5, 3]", "5"),
        ("md5", r#"["hello world"]"#, r#""5eb63bbbe01eeed093cb22bb8f5acdc3""#),
        ("merge", r#"[{"a":1},{"b":2},{"a":3}]"#, r#"{"a":3,"b":2}"#),
        ("parseint", r#"["ff", 16]"#, "255"),
        ("pow", "[2, 10]", "1024"),
        ("range", "[1, 4]", "[1,2,3]"),
        ("range", "[4, 0, -2]", "[4,2]"),
        ("regex", r#"["[0-9]+", "v12"]"#, r#""12""#),
        ("regex", r#"["(?P<a>[a-z])(?P<b>[0-9])", "x7"]"#, r#"{"a":"x","b":"7"}"#),
        ("regexall", r#"["[a-z]", "a1b"]"#, r#"["a","b"]"#),
        ("regex_replace", r#"["a-b-c", "-", "+"]"#, r#""a+b+c""#),
        ("reverse", r#"["abc"]"#, r#""cba""#),
        ("sanitize", r#"["a/b.c"]"#, r#""a_b_c""#),
        ("setproduct", r#"[["a","b"],[1]]"#, r#"[["a",1],["b",1]]"#),
        ("setunion", "[[3,1],[2,1]]", "[1,2,3]"),
        ("setsubtract", "[[1,2],[2]]", "[1]"),
        ("setsymmetricdifference", "[[1,2],[2,3]]", "[1,3]"),
        ("sha1", r#"["a"]"#, r#""86f7e437faa5a7fce15d1ddcb9eaeaea377667b8""#),
        ("slice", "[[1,2,3], 1, 3]", "[2,3]"),
        ("split", r#"[",", "a,b"]"#, r#"["a","b"]"#),
        ("substr", r#"["hello", -3, 2]"#, r#""ll""#),
        ("timeadd", r#"["2017-11-22T00:00:00Z", "1h30m"]"#, r#""2017-11-22T01:30:00Z""#),
        ("timestamp", "[]", r#""2023-11-14T22:13:20Z""#),
        ("title", r#"["hello world"]"#, r#""Hello World""#),
        ("trim", r#"["--a-", "-"]"#, r#""a""#),
        ("urlencode", r#"["a b&c"]"#, r#""a+b%26c""#),
        ("uuidv5", r#"["dns", "hashicorp.com"]"#, r#""da93f8be-6f0d-5e51-9c7a-3f5d0b53f4a7""#),
        ("zipmap", r#"[["a"],[1]]"#, r#"{"a":1}"#),
        ("title", r#"["bob's hello-world a_b"]"#, r#""Bob'S Hello-World A_b""#),
        ("upper", r#"["straße"]"#, r#""STRAßE""#),
        ("lower", r#"["ΑΣ İ"]"#, r#""ασ i""#),
        ("strlen", r#"["e\u0301👨‍👩‍👧a"]"#, "3"),
        ("reverse", r#"["👨‍👩‍👧a"]"#, r#""a👨‍👩‍👧""#),
        ("substr", r#"["👨‍👩‍👧xy", 1, 1]"#, r#""x""#),
        (
            "format",
            r##"["%#x %#o %#b %#X %x|%#08x|%08x|%+#x", 255, 8, 5, 255, -255, 255, -255, 255]"##,
            r#""0xff 010 0b101 0XFF -ff|0x0000ff|-00000ff|+0xff""#,
        ),
        (
            "format",
            r#"["%d %s %f", 1e21, 1e21, 1e21]"#,
            r#""1000000000000000000000 1000000000000000000000 1000000000000000000000.000000""#,
        ),
        (
            "format",
            r#"["%v %v %v %v %g %G %.2g %.4g %v", 1000000, 123456789, 1234567.5, 0.00001, 1e21, 1e30, 12345, 1, 8080]"#,
            r#""1e+06 1.23456789e+08 1.2345675e+06 1e-05 1e+21 1E+30 1.2e+04 1 8080""#,
        ),
        ("format", r#"["%-4s|%.1s|", "👨‍👩‍👧", "👨‍👩‍👧x"]"#, r#""👨‍👩‍👧   |👨‍👩‍👧|""#),
        (
            "timeadd",
            r#"["2017-11-22T00:00:00.5+01:00", "1500ms"]"#,
            r#""2017-11-22T00:00:02+01:00""#,
        ),
        ("timeadd", r#"["2017-11-22T00:00:00Z", "500ms"]"#, r#""2017-11-22T00:00:00Z""#),
        (
            "jsonencode",
            r#"[[1e21, 1e-7, 15000000000, {"a": 1e30}]]"#,
            r#""[1000000000000000000000,0.0000001,15000000000,{\"a\":1000000000000000000000000000000}]""#,
        ),
        ("coalesce", r#"[null, 1, "a"]"#, r#""1""#),
        ("compact", r#"[[1, null, true, ""]]"#, r#"["1","true"]"#),
        ("distinct", r#"[[1, null, "1"]]"#, r#"["1",null]"#),
        ("chunklist", r#"[[1, "a"], 1]"#, r#"[["1"],["a"]]"#),
        ("setunion", r#"[[1], ["a"], []]"#, r#"["1","a"]"#),
        ("setsubtract", r#"[["1", "2"], [1]]"#, r#"["2"]"#),
        ("setintersection", r#"[["1"], [1]]"#, r#"["1"]"#),
        ("setproduct", r#"[[1, "x"], [2]]"#, r#"[["1",2],["x",2]]"#),
        ("csvdecode", r#"["a"]"#, "[]"),
        ("element", r#"[["a","b"], 5]"#, r#""b""#),
        ("parseint", r#"["zZ9", 62]"#, "138331"),
        ("parseint", r#"["A", 37]"#, "36"),
        ("parseint", r#"["-Ff", 16]"#, "-255"),
    ] {
        let found = call(name, &json(args)).unwrap_or_else(|e| panic!("{name} {args}: {e}"));
        if name == "uuidv5" {
            assert_eq!(found.as_text().unwrap().len(), 36);
            continue;
        }
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        assert_eq!(found.to_json().to_string(), expected.to_string(), "{name} {args}");
    }
}

#[test]
fn versions_meet_constraints() {
    for (version, constraint, met) in [
        ("1.2.3", ">= 1.2, < 2", true),
        ("1.2.3", "^1.0", true),
        ("2.0.0", "^1.0", false),
        ("0.3.0", "^0.2.1", false),
        ("1.2.9", "~1.2.3", true),
        ("1.3.0", "~1.2.3", false),
        ("1.5.0", "1.x", true),
        ("1.5.0", "1.2 - 1.4 || >=1.5", true),
        ("1.2.3-beta.1", ">=1.2", false),
        ("1.2.3-beta.2", ">1.2.3-beta.1", true),
        ("v1.2.3", "!=1.2.3", false),
    ] {
        let found = call("semvercmp", &[Value::text(version), Value::text(constraint)]);
        assert_eq!(found, Ok(Value::Bool(met)), "{version} {constraint}");
    }
}

#[test]
fn bad_arguments_are_errors() {
    for (name, args) in [
        ("add", r#"["x", 1]"#),
        ("divide", "[1, 0]"),
        ("pow", "[10, 100000]"),
        ("range", "[0, 1e9]"),
        ("element", "[[], 0]"),
        ("slice", "[[1], 1, 0]"),
        ("cidrhost", r#"["10.0.0.0/33", 1]"#),
        ("cidrsubnet", r#"["10.0.0.0/30", 3, 0]"#),
        ("parseint", r#"["z", 10]"#),
        ("timeadd", r#"["2017-11-22T00:00:00Z", "1y"]"#),
        ("format", r#"["%d", "x"]"#),
        ("format", r#"["%s"]"#),
        ("rsadecrypt", r#"["a", "b"]"#),
        ("nosuch", "[]"),
        ("regex", r#"["(", "a"]"#),
        ("format", r#"["%d", 1.5]"#),
        ("format", r#"["%x", 1.5]"#),
        ("csvdecode", r#"[""]"#),
        ("csvdecode", r#"["a,a\n1,2"]"#),
        ("element", r#"[["a"], -1]"#),
        ("parseint", r#"["a", 63]"#),
        ("parseint", r#"["", 10]"#),
        ("parseint", r#"["-", 10]"#),
        ("parseint", r#"["1_0", 10]"#),
        ("parseint", r#"["zzzzzzzzzzzzzzzzzzzz", 36]"#),
        ("coalesce", "[1, true]"),
        ("coalesce", "[1, [1]]"),
        ("distinct", "[[1, true]]"),
        ("setunion", "[[1], [true]]"),
    ] {
        assert!(call(name, &json(args)).is_err(), "{name} {args}");
    }
}
