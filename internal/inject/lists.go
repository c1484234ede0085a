package inject

import "encoding/json"

// replaceLists writes whole container lists, as the reference does. Containers
// stay raw JSON, so unknown members survive here too.
func (m *mutation) replaceLists() {
	m.add("/spec/containers", m.list("containers"))
	if len(m.pod.initContainers) > 0 {
		m.add("/spec/initContainers", m.list("initContainers"))
	}
}

func (m *mutation) list(name string) []json.RawMessage {
	items := []json.RawMessage{}
	for i := range m.edits {
		if m.edits[i].list == name {
			items = append(items, m.apply(&m.edits[i]))
		}
	}
	return items
}

func (m *mutation) apply(e *edit) json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(e.container.raw, &members) != nil { // it was decoded once already
		return e.container.raw
	}
	if len(e.env) > 0 {
		members["env"] = appendTo(members["env"], e.env)
	}
	if e.mount {
		members["volumeMounts"] = appendTo(members["volumeMounts"], []volumeMount{m.how.mount()})
	}
	return encode(members)
}

func appendTo[T any](list json.RawMessage, added []T) json.RawMessage {
	var items []json.RawMessage
	if json.Unmarshal(list, &items) != nil {
		items = nil
	}
	for _, one := range added {
		items = append(items, encode(one))
	}
	return encode(items)
}

// encode is for our own types, which always can be.
func encode(value any) json.RawMessage {
	text, err := json.Marshal(value)
	if err != nil {
		return json.RawMessage("null")
	}
	return text
}
