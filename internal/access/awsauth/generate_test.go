package awsauth

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// writer writes lists as people and tools do, and as neither should.
type writer struct {
	*rand.Rand
	// odd says how many of ten choices are ones that only few make.
	odd int
}

func (w *writer) pick(usual []string, odd ...string) string {
	if len(odd) > 0 && w.IntN(10) < w.odd {
		return odd[w.IntN(len(odd))]
	}
	return usual[w.IntN(len(usual))]
}

func (w *writer) value(usual []string, odd ...string) string {
	v := w.pick(usual, odd...)
	switch w.IntN(6) {
	case 0:
		return `"` + v + `"`
	case 1:
		return `'` + v + `'`
	}
	return v
}

func (w *writer) arn(kind string) string {
	return "arn:aws:iam::11112222333" + fmt.Sprint(w.IntN(10)) + ":" + kind + "/" + w.pick(
		[]string{"Dev", "ops", "AWSReservedSSO_View_abc", "n-1", "a.b@c"}, "team/Dev", "", "x*", "a b",
		"Key\u212A", "x#y", "x: y", "*a",
	)
}

// list writes a text of a key.
func (w *writer) list(key Key) string {
	var out strings.Builder
	indent := strings.Repeat(" ", w.IntN(3))
	if w.IntN(10) < w.odd {
		out.WriteString(w.pick([]string{
			"---\n", "# comment\n", "\n", "  # é\n", "%YAML 1.1\n---\n", "\ufeff",
			"- &a {rolearn: x}\n",
		}))
	}
	if key != Accounts && w.IntN(4) == 0 {
		w.flow(&out, key)
	} else {
		for range 1 + w.IntN(4) {
			w.entry(&out, key, indent)
		}
	}
	if w.IntN(10) < w.odd {
		out.WriteString(w.pick([]string{
			"...\n", "---\n- x\n", "# end", "  \n", "\t\n", "x: y\n", indent + "-\n",
			"*a\n",
		}))
	}
	text := out.String()
	if w.IntN(10) < w.odd && len(text) > 2 {
		// A byte that is lost, doubled or another.
		i := w.IntN(len(text))
		switch w.IntN(3) {
		case 0:
			text = text[:i] + text[i+1:]
		case 1:
			text = text[:i] + text[i:i+1] + text[i:]
		case 2:
			const bytes = " \t\n-:{}[],\"'#&*!|>%@`\r~"
			text = text[:i] + bytes[w.IntN(len(bytes)):][:1] + text[i+1:]
		}
	}
	if w.IntN(4) == 0 {
		text = strings.TrimSuffix(text, "\n")
	}
	return text
}

// flow writes a list as JSON.
func (w *writer) flow(out *strings.Builder, key Key) {
	id, kind := "rolearn", "role"
	if key == Users {
		id, kind = "userarn", "user"
	}
	gap := w.pick([]string{"", " ", "\n", "\n  "}, "\t")
	quoted := func(s string) string { return w.pick([]string{`"`}, "'", "") + s + `"` }
	out.WriteString("[" + gap)
	for i := range 1 + w.IntN(3) {
		if i > 0 {
			out.WriteString("," + gap)
		}
		fields := []string{
			`"` + w.pick([]string{id}, "roleARN", "x", "") + `"` + w.pick([]string{":", ": "}, " :", "\n:") +
				quoted(w.arn(kind)),
			`"username":` + w.pick([]string{`"alice"`, `"dev:{{SessionName}}"`}, `1`, `yes`, `null`, `"a\\u0041"`,
				`"a\\/b"`, `{}`, `"é"`, `" a"`),
			`"groups":` + w.pick([]string{`["a","system:masters"]`, `[ "a" , "b"]`, `[]`}, `["a",]`, `[1]`, `null`,
				`"a"`, `[["a"]]`, `["a" "b"]`),
		}
		w.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
		if w.IntN(10) < w.odd {
			fields = append(fields, w.pick([]string{"", `"groups":["x"]`, `"sso":{}`, "x"}))
		}
		out.WriteString("{" + gap + strings.Join(fields, gap+","+gap) + gap + "}" + gap)
	}
	out.WriteString("]" + w.pick([]string{"", "\n"}, ",", "]", " # x", "\n# x\n"))
}

func (w *writer) entry(out *strings.Builder, key Key, indent string) {
	if key == Accounts {
		fmt.Fprintf(out, "%s- %s\n", indent, w.value([]string{"012345678901", "111122223333"},
			"012345678912", "1111", "0123456789012", "abc", "{a: b}", "~", "", "1e11",
			"0x1234567890", "!!str 012345678901"))
		return
	}
	id := "rolearn"
	kind := "role"
	if key == Users {
		id, kind = "userarn", "user"
	}
	fields := []string{
		w.pick([]string{id}, "roleARN", "userARN", `"`+id+`"`, "grouparn", "x", "<<", "? a\n", id+" ") + ": " +
			w.value([]string{w.arn(kind)}, "~", "12", "*a", "{a: b}", "|\n"+indent+"    "+w.arn(kind)),
		w.pick([]string{"username"}, "Username", `"username"`, `'username'`, "user", "<<") + ":" +
			w.pick([]string{" "}, "  ", "", "\t") +
			w.value([]string{"dev:{{SessionName}}", "alice", "a,b"},
				"007", "yes", "y", "null", "{{SessionName}}", "system:node:{{EC2PrivateDNSName}}", "2001-01-01",
				"1_0", "0o7",
				".nan", "", "a: b", "a #b", "a\n"+indent+"    b", "!!str 7", ">-\n"+indent+"    x", "&b alice",
				"*b", "é", "k:", "true"),
		w.pick([]string{"groups"}, "Groups", `"groups"`, "gRoUpS", "group") + ":" + w.groups(indent),
	}
	if w.IntN(10) < w.odd {
		fields = append(fields, w.pick([]string{
			"userid: AROAX", "username: again", "groups: []", "rolearn: arn:aws:iam::111122223333:role/Again", "zzz: 1",
			"<<: {username: merged}", "<<: [{username: one}, {username: two, groups: [m]}]", "# comment",
			`sso: {permissionSetName: View, accountID: "111122223333"}`,
			"sso: {permissionSetName: View, accountID: 111122223333}",
		}))
	}
	w.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	for i, field := range fields {
		lead := indent + "  "
		if i == 0 {
			lead = indent + w.pick([]string{"- "}, "-   ", "- &a ", "- *a\n"+indent+"- ", "- x\n"+indent+"- ",
				"-\n"+indent+"  ")
		}
		out.WriteString(lead + field + "\n")
		if w.IntN(12) == 0 {
			out.WriteString(w.pick([]string{"\n", "  # comment\n", "#\n"}))
		}
	}
}

func (w *writer) groups(indent string) string {
	names := []string{}
	for range 1 + w.IntN(3) {
		names = append(names, w.value([]string{"system:masters", "dev", "a-b"},
			"{{SessionName}}x", "x{{SessionName}}", "1", "yes", "~", "", "x y", "a:", "a,b",
			"[x]", "no", "*a", "- b", "a: b"))
	}
	switch w.IntN(5) {
	case 0:
		return " [" + strings.Join(names, w.pick([]string{", ", ","}, " , ", ",\n     ")) + "]"
	case 1:
		if w.IntN(10) < w.odd {
			return w.pick([]string{" []", " system:masters", " ~", "", " [ ]", " {}", " [a,]", " 5"})
		}
	}
	lead := "\n" + indent + w.pick([]string{"  ", "    "}, " ", "", "      ") + "- "
	return lead + strings.Join(names, lead)
}
