package nodenet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/rolecall/rolecall/internal/agent/nodenet"
)

// machine is another network namespace, joined to the one of the test by a pair.
type machine struct {
	name string
	ns   netns.NsHandle
	inNS *netlink.Handle
	// near is the end of the pair in the test's namespace.
	near netlink.Link
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// join makes a machine; name is that of the near end. The thread is that of
// namespace, and stays where it is.
func join(t *testing.T, name string) machine {
	t.Helper()
	here, err := netns.Get()
	must(t, err)
	defer here.Close()
	made, err := netns.New()
	must(t, err)
	t.Cleanup(func() { made.Close() })
	must(t, netns.Set(here))
	attributes := netlink.NewLinkAttrs()
	attributes.Name = name
	err = netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(made)), //nolint:gosec // a file's number
	})
	if errors.Is(err, syscall.EOPNOTSUPP) {
		t.Skipf("NOT TESTED: this kernel has no pairs of links: %v", err)
	}
	must(t, err)
	m := machine{name: name, ns: made}
	m.inNS, err = netlink.NewHandleAt(made)
	must(t, err)
	m.near, err = netlink.LinkByName(name)
	must(t, err)
	must(t, netlink.LinkSetUp(m.near))
	must(t, m.inNS.LinkSetUp(m.far(t)))
	return m
}

func (m machine) far(t *testing.T) netlink.Link {
	t.Helper()
	link, err := m.inNS.LinkByName("eth0")
	must(t, err)
	return link
}

func address(t *testing.T, text string) *netlink.Addr {
	t.Helper()
	found, err := netlink.ParseAddr(text)
	must(t, err)
	found.Flags = syscall.IFA_F_NODAD
	return found
}

func (m machine) has(t *testing.T, text string) {
	t.Helper()
	must(t, m.inNS.AddrAdd(m.far(t), address(t, text)))
}

// reaches makes the machine send what is for to through the near end's address.
func (m machine) reaches(t *testing.T, to, via string) {
	t.Helper()
	gateway := net.ParseIP(via)
	_, whole, err := net.ParseCIDR(to)
	must(t, err)
	must(t, m.inNS.RouteReplace(&netlink.Route{
		LinkIndex: m.far(t).Attrs().Index, Dst: whole, Gw: gateway, Flags: int(netlink.FLAG_ONLINK),
	}))
}

// asks connects from the machine, and returns what it is told.
func (m machine) asks(t *testing.T, to string) (string, error) {
	t.Helper()
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if err := netns.Set(m.ns); err != nil {
			done <- result{"", err}
			return
		}
		connection, err := (&net.Dialer{Timeout: 20 * time.Second}).DialContext(context.Background(), "tcp", to)
		if err != nil {
			done <- result{"", err}
			return
		}
		defer connection.Close()
		_ = connection.SetDeadline(time.Now().Add(20 * time.Second))
		text, err := io.ReadAll(connection)
		done <- result{string(text), err}
	}()
	got := <-done
	return got.text, got.err
}

// onNode gives the test a node with the agent's addresses, whose listeners greet
// those who may ask.
func onNode(t *testing.T, origins nodenet.Origins) {
	t.Helper()
	asked, _ := request()
	_, err := nodenet.Prepare(asked)
	must(t, err)
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	for _, host := range asked.Addresses {
		listener, err := nodenet.Listen(t.Context(), host, 80, false)
		must(t, err)
		guarded, err := nodenet.Guard(listener, origins)
		must(t, err)
		t.Cleanup(func() { guarded.Close() })
		go func() {
			for {
				connection, err := guarded.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(connection, "hello")
				_ = connection.Close()
			}
		}()
	}
}

// refusals collects what Guard says.
func refusals() (nodenet.Origins, chan string) {
	told := make(chan string, 100)
	return nodenet.Origins{Now: time.Now, Refused: func(client netip.Addr, link, why string) {
		told <- client.String() + " " + link + " " + why
	}}, told
}

const asked4, asked6 = "169.254.170.23:80", "[fd00:ec2::23]:80"

// TestNeighbours: pods are answered however they are joined to the node, and so is the
// node itself; a machine on a network of the node that routes the agent's addresses
// through it is not.
func TestNeighbours(t *testing.T) {
	for _, row := range []struct {
		name string
		// make joins a machine to the node.
		make func(t *testing.T) machine
		why  string // of the refusal; empty if it is answered
	}{
		{"pod with a pair of its own", func(t *testing.T) machine {
			m := join(t, "veth1")
			must(t, netlink.AddrAdd(m.near, address(t, "10.1.0.1/32")))
			must(t, netlink.AddrAdd(m.near, address(t, "fd99::1/128")))
			_, pod, _ := net.ParseCIDR("10.1.0.7/32")
			must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: m.near.Attrs().Index, Dst: pod, Scope: netlink.SCOPE_LINK}))
			_, pod, _ = net.ParseCIDR("fd99::7/128")
			must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: m.near.Attrs().Index, Dst: pod}))
			m.has(t, "10.1.0.7/32")
			m.has(t, "fd99::7/128")
			m.reaches(t, "0.0.0.0/0", "10.1.0.1")
			m.reaches(t, "::/0", "fd99::1")
			return m
		}, ""},
		{"pod behind a bridge", func(t *testing.T) machine { return bridged(t, "veth2") }, ""},
		{
			"machine on a network of the node", func(t *testing.T) machine { return onNetwork(t, "eth9") },
			"is on it",
		},
		{"machine where the default route leads", func(t *testing.T) machine {
			m := bridged(t, "veth3")
			bridge, err := netlink.LinkByName("br0")
			must(t, err)
			_, all, _ := net.ParseCIDR("0.0.0.0/0")
			must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: bridge.Attrs().Index, Dst: all, Gw: net.ParseIP("10.2.0.7")}))
			return m
		}, "default route"},
		{"machine behind a bridge with more than pods", func(t *testing.T) machine {
			m := bridged(t, "veth4")
			bridge, err := netlink.LinkByName("br0")
			must(t, err)
			card := standIn(t, "card0")
			must(t, netlink.LinkSetMaster(card, bridge))
			return m
		}, "joins card0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			namespace(t)
			origins, told := refusals()
			onNode(t, origins)
			m := row.make(t)
			for _, to := range []string{asked4, asked6} {
				text, err := m.asks(t, to)
				switch {
				case row.why == "" && (text != "hello" || err != nil):
					t.Errorf("%s: got %q, %v, want an answer", to, text, err)
				case row.why != "" && text != "":
					t.Errorf("%s: answered %q", to, text)
				case row.why != "":
					if got := <-told; !strings.Contains(got, row.why) {
						t.Errorf("%s: refused because %q, want %q", to, got, row.why)
					}
				}
			}
			here, err := netns.Get()
			must(t, err)
			defer here.Close()
			for _, to := range []string{asked4, asked6} {
				if text, err := (machine{ns: here}).asks(t, to); text != "hello" {
					t.Errorf("the node itself at %s: %q, %v", to, text, err)
				}
			}
			if len(told) > 0 {
				t.Errorf("refused: %s", <-told)
			}
		})
	}
}

// bridged is a machine behind the bridge br0, as most pods are.
func bridged(t *testing.T, name string) machine {
	t.Helper()
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "br0"
	bridge := &netlink.Bridge{LinkAttrs: attributes}
	if err := netlink.LinkAdd(bridge); err != nil {
		t.Skipf("NOT TESTED: no bridge: %v", err)
	}
	must(t, netlink.AddrAdd(bridge, address(t, "10.2.0.1/24")))
	must(t, netlink.AddrAdd(bridge, address(t, "fd98::1/64")))
	must(t, netlink.LinkSetUp(bridge))
	m := join(t, name)
	must(t, netlink.LinkSetMaster(m.near, bridge))
	m.has(t, "10.2.0.7/24")
	m.has(t, "fd98::7/64")
	m.reaches(t, "0.0.0.0/0", "10.2.0.1")
	m.reaches(t, "::/0", "fd98::1")
	return m
}

// onNetwork is a machine on the node's own network, that has learnt to send there
// what is for the agent.
func onNetwork(t *testing.T, name string) machine {
	t.Helper()
	m := join(t, name)
	must(t, netlink.AddrAdd(m.near, address(t, "192.168.7.1/24")))
	must(t, netlink.AddrAdd(m.near, address(t, "fd97::1/64")))
	m.has(t, "192.168.7.2/24")
	m.has(t, "fd97::2/64")
	m.reaches(t, "169.254.170.23/32", "192.168.7.1")
	m.reaches(t, "fd00:ec2::23/128", "fd97::1")
	return m
}

// standIn is a link that is no pair and no bridge, in the place of a network card.
func standIn(t *testing.T, name string) netlink.Link {
	t.Helper()
	under := join(t, "under0")
	attributes := netlink.NewLinkAttrs()
	attributes.Name = name
	on := attributes
	on.ParentIndex = under.near.Attrs().Index
	for _, link := range []netlink.Link{
		&netlink.Dummy{LinkAttrs: attributes}, &netlink.Vlan{LinkAttrs: on, VlanId: 7},
		&netlink.Macvlan{LinkAttrs: on}, &netlink.Vxlan{LinkAttrs: attributes, VxlanId: 7, Port: 4789},
	} {
		if err := netlink.LinkAdd(link); err == nil {
			made, err := netlink.LinkByName(name)
			must(t, err)
			return made
		}
	}
	t.Skip("NOT TESTED: this kernel has no link to stand for a network card")
	return nil
}

// TestNamedLinks: what the operator names counts, whatever the link is.
func TestNamedLinks(t *testing.T) {
	for name, want := range map[string]string{"eth*": "hello", "cni0": ""} {
		t.Run(name, func(t *testing.T) {
			namespace(t)
			origins, told := refusals()
			origins.Links = []string{"nothing", name}
			onNode(t, origins)
			m := onNetwork(t, "eth9")
			if text, err := m.asks(t, asked4); text != want {
				t.Errorf("got %q, %v, want %q", text, err, want)
			}
			if want == "" && !strings.HasPrefix(<-told, "192.168.7.2 eth9 ") {
				t.Error("the refusal does not name client and link")
			}
		})
	}
}

// TestOthersAreNotGuarded: an address of a network was chosen for those on it.
func TestOthersAreNotGuarded(t *testing.T) {
	t.Parallel()
	listener, err := nodenet.Listen(t.Context(), netip.MustParseAddr("127.0.0.1"), 0, false)
	must(t, err)
	defer listener.Close()
	if guarded, err := nodenet.Guard(listener, nodenet.Origins{}); err != nil || guarded != listener {
		t.Errorf("got %v, %v", guarded, err)
	}
	if os.Getuid() != 0 {
		t.Log("NOT TESTED: who is refused needs network namespaces, and they root")
	}
}
