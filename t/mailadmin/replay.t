#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# 10,000 random changes, by mailadmin and by SQL, in statements of many rows,
# in transactions that are rolled back in part or as a whole; a model makes
# them, too. What --at shows of a moment is what the model was then, before a
# prune and after it.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use JSON::PP;
use Storable qw(dclone);
use Test::More;
use Time::Local qw(timegm);

use constant {ROUNDS => 40, RAW => 210, LINES => 45, EACH => 30};

my $seed = $ENV{EMAILING_SEED} // 20260301;
note "EMAILING_SEED=$seed";

my $pg = EmailingPg->new;
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';
my $conf = $pg->conf("database_timeout = 30\n");

my @names = map { "u$_" } 1 .. 24;
my @addresses = map { "a$_\@d" . $_ % 5 . '.example' } 1 .. 24;
my @domains = ('example', map { ("d$_.example", "s.d$_.example") } 0 .. 5);
# When grants end: the one before, the other after all that happens here.
my %ends = ('2020-01-02' => timegm(0, 0, 0, 2, 0, 2020),
    '2199-01-02' => timegm(0, 0, 0, 2, 0, 2199));

# user => {enabled, address => {text => end}, domain => {text => [sub, end]}}
my $model = {user => {}, address => {}, domain => {}};
my $changes = 0;

sub pick { return $_[rand @_] }

# Some of a list, at least one if there are any.
sub some {
    my ($most, @list) = @_;
    return if !@list;
    my %chosen = map { $_ => 1 } map { pick(@list) } 1 .. 1 + rand $most;
    return sort keys %chosen;
}

sub there { return sort keys %{ $model->{$_[0]} } }

sub absent {
    my ($kind, @all) = @_;
    return grep { !$model->{$kind}{$_} } @all;
}

sub list { return join ', ', map { "'$_'" } @_ }

sub end_of { return rand() < 0.6 ? undef : pick(sort keys %ends) }

sub is_table {
    my ($kind) = @_;
    return $kind eq 'address' ? ('emailing_addresses', 'emailing_users_addresses')
        : ('emailing_domains', 'emailing_users_domains');
}

# -- changes: each gives SQL and changes the model ----------------------------

sub add_users {
    my @new = some(3, absent('user', @names)) or return;
    $model->{user}{$_} = {enabled => 1, address => {}, domain => {}} for @new;
    return 'INSERT INTO emailing_users (name, passwd) VALUES '
        . join ', ', map { "('$_', 'x')" } @new;
}

sub add_objects {
    my ($kind, $all) = @{ pick(['address', \@addresses],
        ['domain', \@domains]) };
    my @new = some(4, absent($kind, @$all)) or return;
    $model->{$kind}{$_} = 1 for @new;
    my ($table) = is_table($kind);
    return "INSERT INTO $table ($kind) VALUES "
        . join ', ', map { "('$_')" } @new;
}

sub del_users {
    my @old = some(rand() < 0.1 ? 6 : 1, there('user')) or return;
    delete $model->{user}{$_} for @old;
    return 'DELETE FROM emailing_users WHERE name IN (' . list(@old) . ')';
}

sub del_objects {
    my $kind = pick(qw(address domain));
    my @old = some(rand() < 0.1 ? 5 : 1, there($kind)) or return;
    for my $text (@old) {
        delete $model->{$kind}{$text};
        delete $_->{$kind}{$text} for values %{ $model->{user} };
    }
    my ($table) = is_table($kind);
    return "DELETE FROM $table WHERE $kind IN (" . list(@old) . ')';
}

sub rename_user {
    my ($old) = some(0, there('user')) or return;
    my ($new) = some(0, absent('user', @names)) or return;
    $model->{user}{$new} = delete $model->{user}{$old};
    return "UPDATE emailing_users SET name = '$new' WHERE name = '$old'";
}

sub swap_users {
    my ($one, $other) = some(5, there('user'));
    return if !$other;
    @{ $model->{user} }{$one, $other} = @{ $model->{user} }{$other, $one};
    return "UPDATE emailing_users SET name = 'swap' WHERE name = '$one';
        UPDATE emailing_users SET name = '$one' WHERE name = '$other';
        UPDATE emailing_users SET name = '$other' WHERE name = 'swap'";
}

sub rename_object {
    my ($kind, $all) = @{ pick(['address', \@addresses],
        ['domain', \@domains]) };
    my ($old) = some(0, there($kind)) or return;
    my ($new) = some(0, absent($kind, @$all)) or return;
    delete $model->{$kind}{$old};
    $model->{$kind}{$new} = 1;
    for my $user (values %{ $model->{user} }) {
        $user->{$kind}{$new} = delete $user->{$kind}{$old}
            if exists $user->{$kind}{$old};
    }
    my ($table) = is_table($kind);
    return "UPDATE $table SET $kind = '$new' WHERE $kind = '$old'";
}

sub grants {
    my $kind = pick(qw(address domain));
    my @users = some(3, there('user')) or return;
    my @texts = some(4, there($kind)) or return;
    my ($end, $sub) = (end_of(), rand() < 0.3 ? 1 : 0);
    for my $user (@users) {
        $model->{user}{$user}{$kind}{$_} = [$sub, $end] for @texts;
    }
    my ($table, $grants) = is_table($kind);
    my $domain = $kind eq 'domain';
    return "INSERT INTO $grants (id_user, id_$kind, expires"
        . ($domain ? ', subdomains' : '') . ') SELECT u.id, o.id, '
        . ($end ? "timestamptz '$end UTC'" : 'NULL')
        . ($domain ? ($sub ? ', true' : ', false') : '')
        . " FROM emailing_users u, $table o WHERE u.name IN (" . list(@users)
        . ") AND o.$kind IN (" . list(@texts)
        . ") ON CONFLICT (id_user, id_$kind) DO UPDATE "
        . 'SET expires = excluded.expires'
        . ($domain ? ', subdomains = excluded.subdomains' : '');
}

sub revokes {
    my $kind = pick(qw(address domain));
    my @users = some(3, there('user')) or return;
    my @texts = some(4, there($kind)) or return;
    for my $user (@users) {
        delete $model->{user}{$user}{$kind}{$_} for @texts;
    }
    my ($table, $grants) = is_table($kind);
    return "DELETE FROM $grants g USING emailing_users u, $table o
        WHERE g.id_user = u.id AND g.id_$kind = o.id AND u.name IN ("
        . list(@users) . ") AND o.$kind IN (" . list(@texts) . ')';
}

sub change_grants {
    my @users = some(5, there('user')) or return;
    my $end = end_of();
    for my $user (map { $model->{user}{$_} } @users) {
        $user->{domain}{$_} = [1 - $user->{domain}{$_}[0], $end]
            for keys %{ $user->{domain} };
    }
    return 'UPDATE emailing_users_domains SET subdomains = NOT subdomains, '
        . 'expires = ' . ($end ? "'$end UTC'" : 'NULL')
        . ' WHERE id_user IN (SELECT id FROM emailing_users WHERE name IN ('
        . list(@users) . '))';
}

# A grant given to another user: its key changes.
sub move_grant {
    my ($from) = some(0, grep { %{ $model->{user}{$_}{address} } }
        there('user')) or return;
    my ($text) = some(0, sort keys %{ $model->{user}{$from}{address} });
    my ($to) = some(0, grep { !exists $model->{user}{$_}{address}{$text} }
        there('user')) or return;
    $model->{user}{$to}{address}{$text} =
        delete $model->{user}{$from}{address}{$text};
    return "UPDATE emailing_users_addresses SET id_user =
        (SELECT id FROM emailing_users WHERE name = '$to')
        WHERE id_user = (SELECT id FROM emailing_users WHERE name = '$from')
        AND id_address = (SELECT id FROM emailing_addresses
            WHERE address = '$text')";
}

# An object keeps its text and gets another key.
my $key = 1_000_000;
sub rekey {
    my ($user) = some(0, grep { !%{ $model->{user}{$_}{address} }
        && !%{ $model->{user}{$_}{domain} } } there('user')) or return;
    $key++;
    return "UPDATE emailing_users SET id = $key WHERE name = '$user'";
}

sub enables {
    my @users = some(rand() < 0.1 ? 20 : 1, there('user')) or return;
    my $enabled = rand() < 0.5 ? 1 : 0;
    $model->{user}{$_}{enabled} = $enabled for @users;
    return 'UPDATE emailing_users SET enabled = '
        . ($enabled ? 'true' : 'false') . ' WHERE name IN ('
        . list(@users) . ')';
}

sub passwords {
    return "UPDATE emailing_users SET passwd = md5(random()::text)
        WHERE name <= '" . pick(@names) . "'";
}

sub truncates {
    return if rand() > 0.2;
    my $what = pick(qw(address domain all));
    $_->{address} = {} for $what ne 'domain' ? values %{ $model->{user} } : ();
    $_->{domain} = {} for $what ne 'address' ? values %{ $model->{user} } : ();
    $model->{user} = {} if $what eq 'all';
    return 'TRUNCATE emailing_users CASCADE' if $what eq 'all';
    return 'TRUNCATE ' . (is_table($what))[1];
}

my @kinds = (\&add_users, \&add_users, \&add_objects, \&add_objects,
    \&del_users, \&del_objects, \&rename_user, \&swap_users, \&rename_object,
    (\&grants) x 6, (\&revokes) x 3, \&change_grants, \&move_grant, \&rekey,
    \&enables, \&enables, \&passwords, \&truncates);

sub change {
    while (1) {
        my $sql = pick(@kinds)->();
        next if !defined $sql;
        $changes++;
        return "$sql;\n";
    }
}

sub several { return join '', map { change() } 1 .. 1 + rand 4 }

# Changes that are undone; the savepoint or the whole transaction is theirs.
sub undone {
    my ($begin, $end) = @_;
    my $was = dclone $model;
    my $sql = $begin . several() . $end;
    $model = $was;
    return $sql;
}

sub transaction {
    my $how = rand;
    return change() if $how < 0.5;
    return undone("BEGIN;\n", "ROLLBACK;\n") if $how < 0.6;
    my $sql = "BEGIN;\n";
    $sql .= "SET CONSTRAINTS ALL IMMEDIATE;\n" if $how < 0.65;
    $sql .= several();
    $sql .= undone("SAVEPOINT s;\n", "ROLLBACK TO s;\n") if $how < 0.8;
    $sql .= "SAVEPOINT t;\n" . several() . "RELEASE t;\n" if $how < 0.7;
    return $sql . "COMMIT;\n";
}

# -- changes by mailadmin -----------------------------------------------------

sub line {
    my ($user) = some(0, there('user'));
    my $kind = pick(qw(address domain));
    my ($text) = some(0, there($kind));
    my $how = rand;
    if ($how < 0.1 || !$user || !$text) {
        my ($new) = some(0, absent('user', @names));
        my ($object) = some(0, absent('address', @addresses));
        if ($new && ($how < 0.05 || !$user || !$object)) {
            $model->{user}{$new} = {enabled => 1, address => {},
                domain => {}};
            return "add user $new --no-password\n";
        }
        return if !$object;
        $model->{address}{$object} = 1;
        return "add address $object\n";
    }
    if ($how < 0.15) {
        delete $model->{user}{$user};
        return "del user $user\n";
    }
    if ($how < 0.2) {
        delete $model->{$kind}{$text};
        delete $_->{$kind}{$text} for values %{ $model->{user} };
        return "del $kind $text\n";
    }
    if ($how < 0.25) {
        my ($new) = some(0, absent('user', @names)) or return;
        $model->{user}{$new} = delete $model->{user}{$user};
        return "rename user $user to $new\n";
    }
    if ($how < 0.35) {
        $model->{user}{$user}{enabled} = $how < 0.3 ? 1 : 0;
        return ($how < 0.3 ? 'enable' : 'disable') . " user $user\n";
    }
    if ($how < 0.5) {
        delete $model->{user}{$user}{$kind}{$text};
        return "revoke $kind $text from $user\n";
    }
    my ($end, $sub) = (end_of(), $kind eq 'domain' && rand() < 0.3 ? 1 : 0);
    $model->{user}{$user}{$kind}{$text} = [$sub, $end];
    return "grant $kind $text to $user" . ($sub ? ' with subdomains' : '')
        . ($end ? " until $end" : '') . "\n";
}

# -- what was -----------------------------------------------------------------

my @samples; # [moment, model]

sub state_of {
    my ($then) = @_;
    my @lines = (map({ my $kind = $_; map { "$kind $_" }
        keys %{ $then->{$kind} } } qw(address domain)));
    for my $name (keys %{ $then->{user} }) {
        my $user = $then->{user}{$name};
        push @lines, "user $name $user->{enabled}";
        for my $kind (qw(address domain)) {
            for my $text (keys %{ $user->{$kind} }) {
                my ($sub, $end) = @{ $user->{$kind}{$text} };
                push @lines, join ' ', $name, $text,
                    $kind eq 'domain' ? $sub : 0, $end ? $ends{$end} : '-';
            }
        }
    }
    return join "\n", sort @lines;
}

sub state_sql {
    my ($moment) = @_;
    return "WITH s AS MATERIALIZED (SELECT * FROM emailing_state((
            SELECT max(number) FROM emailing_audit_chain
             WHERE at <= '$moment')))
        SELECT 'user ' || name || ' ' || enabled::int FROM s
            WHERE object = 'user'
        UNION ALL SELECT 'address ' || address FROM s
            WHERE object = 'address'
        UNION ALL SELECT 'domain ' || domain FROM s WHERE object = 'domain'
        UNION ALL SELECT concat_ws(' ', u.name, a.address,
            coalesce(d.domain), coalesce(g.subdomains, false)::int,
            coalesce(extract(epoch FROM g.expires)::bigint::text, '-'))
            FROM s g
            LEFT JOIN s u ON u.object = 'user' AND u.id_user = g.id_user
            LEFT JOIN s a ON a.object = 'address'
                AND a.id_address = g.id_address
            LEFT JOIN s d ON d.object = 'domain' AND d.id_domain = g.id_domain
            WHERE g.object IN ('user_address', 'user_domain')
        ORDER BY 1;\nSELECT '--';\n";
}

sub wrong_states {
    my (@which) = @_;
    my @states = split /^--$/m,
        $pg->psql(join '', map { state_sql($_->[0]) } @which), -1;
    return grep { my $got = shift @states;
        $got =~ s/\A\n|\n\z//g;
        $got ne state_of($_->[1]) } @which;
}

# What show gives in JSON, made comparable.
sub end_json {
    my ($end) = @_;
    return $end ? "${end}T00:00:00Z" : undef;
}

sub expected_show {
    my ($kind, $text, $then) = @_;
    if ($kind eq 'user') {
        my $user = $then->{user}{$text} or return;
        return {enabled => $user->{enabled},
            addresses => [map { [$_, end_json($user->{address}{$_}[1])] }
                sort keys %{ $user->{address} }],
            domains => [map { [$_, $user->{domain}{$_}[0],
                end_json($user->{domain}{$_}[1])] }
                sort keys %{ $user->{domain} }]};
    }
    return if !$then->{$kind}{$text};
    return {users => [map { my $grant = $then->{user}{$_}{$kind}{$text};
        [$_, $then->{user}{$_}{enabled},
            $kind eq 'domain' ? $grant->[0] : 0, end_json($grant->[1])] }
        grep { $then->{user}{$_}{$kind}{$text} }
        sort keys %{ $then->{user} }]};
}

sub shown {
    my ($kind, $json) = @_;
    my $got = decode_json($json);
    return {enabled => $got->{enabled} ? 1 : 0,
        addresses => [map { [@$_{qw(address expires)}] }
            @{ $got->{addresses} }],
        domains => [map { [$_->{domain}, $_->{subdomains} ? 1 : 0,
            $_->{expires}] } @{ $got->{domains} }]} if $kind eq 'user';
    return {users => [map { [$_->{user}, $_->{enabled} ? 1 : 0,
        $_->{subdomains} ? 1 : 0, $_->{expires}] } @{ $got->{users} }]};
}

# Whether the model lets a user send: 1 or 0, undef when there is no such user.
sub may {
    my ($then, $name, $sender) = @_;
    my $user = $then->{user}{$name} or return;
    my $lasts = sub { my ($grant) = @_;
        $grant && (!$grant->[1] || $grant->[1] gt '2100') };
    my ($domain) = $sender =~ /@(.*)/;
    return 0 if !$user->{enabled};
    return 1 if $lasts->($user->{address}{$sender})
        || $lasts->($user->{domain}{$domain});
    while ($domain =~ s/^[^.]*\.//) {
        my $grant = $user->{domain}{$domain};
        return 1 if $lasts->($grant) && $grant->[0];
    }
    return 0;
}

# Asks for some of each moment, in one session; returns what differed.
sub wrong_shows {
    my (@which) = @_;
    my (@questions, $script);
    for my $sample (@which) {
        my ($moment, $then) = @$sample;
        my @asked = (['user', pick(@names)], ['user', pick(@names)],
            ['address', pick(@addresses)], ['domain', pick(@domains)]);
        for (@asked) {
            my ($kind, $text) = @$_;
            $script .= "show $kind $text --at $moment\n";
            push @questions, [$kind, $text, $then];
        }
        my ($name, $sender) = (pick(@names),
            pick(@addresses, map { "x\@$_" } @domains));
        $script .= "check $name $sender --at $moment\n";
        push @questions, ['check', $name, $then, $sender];
    }
    my $r = $pg->mailadmin({user => 'emailing_mailadmin', conf => $conf,
        stdin => $script}, '-f', 'json');
    my @answers = split /\n/, $r->{out};
    my %unknown = map { /line (\d+): no such/ ? ($1 => 1) : () }
        split /\n/, $r->{err};
    my @wrong;
    for my $i (0 .. $#questions) {
        my ($kind, $text, $then, $sender) = @{ $questions[$i] };
        # An address that was not stored may be shown all the same.
        my $json = $unknown{$i + 1} ? undef : shift @answers;
        my ($got, $expected);
        if ($kind eq 'check') {
            $expected = may($then, $text, $sender);
            $got = defined $json
                ? (decode_json($json)->{permitted} ? 1 : 0) : undef;
        } else {
            $expected = expected_show($kind, $text, $then);
            $expected //= {users => []} if $kind eq 'address'
                && defined $json
                && @{ decode_json($json)->{by_domain} };
            $got = defined $json ? shown($kind, $json) : undef;
        }
        my $encoder = JSON::PP->new->canonical->allow_nonref;
        my @both = map { $encoder->encode(ref $_ ? $_ : [$_]) }
            $got, $expected;
        $_ =~ s/"([01])"/$1/g for @both;
        push @wrong, "$kind $text: $both[0] but $both[1]"
            if $both[0] ne $both[1];
    }
    return (scalar @questions, \@wrong, \@answers, $r->{err});
}

# -- the day --------------------------------------------------------------------

sub clock { return "SELECT 'at ' || to_char(clock_timestamp() AT TIME ZONE
    'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"');\n" }

sub day {
    my ($rounds) = @_;
    for my $round (1 .. $rounds) {
        srand $seed + $changes; # others draw from it, too
        my ($sql, @then) = ('');
        my $enough = $changes + RAW;
        while ($changes < $enough) {
            $sql .= transaction();
            next if rand() > 1 / EACH;
            $sql .= clock();
            push @then, dclone $model;
        }
        my @moments = $pg->psql($sql) =~ /^at (.*)$/mg;
        push @samples, map { [$_, shift @then] } @moments;
        srand $seed + $changes;
        my @lines = grep { defined } map { line() } 1 .. LINES;
        my $r = $pg->mailadmin({user => 'emailing_mailadmin', conf => $conf,
            stdin => join '', @lines}, '--strict');
        $changes += @lines;
        return fail "round $round: $r->{err}" if $r->{status};
        my ($moment) = $pg->psql(clock()) =~ /at (.*)/;
        push @samples, [$moment, dclone $model];
    }
}

sub right {
    my ($name, @which) = @_;
    my @wrong = wrong_states(@which);
    is scalar @wrong, 0, "$name: the permissions of " . @which . ' moments'
        or diag "first: $wrong[0][0]";
    my ($asked, $differ, $answers, $err) = wrong_shows(@which);
    is_deeply $differ, [], "$name: $asked times show and check";
    is scalar @$answers, 0, 'all answers were compared';
    return if $which[0] == $samples[0];
    unlike $err, qr/reach back/, 'all of them are kept';
}

sub intact {
    my $r = $pg->mailadmin({conf => $conf}, qw(audit verify));
    like $r->{out}, qr/^intact: /, 'the audit is intact' or diag $r->{out};
}

my ($start) = $pg->psql(clock()) =~ /at (.*)/;
push @samples, [$start, dclone $model];
day(ROUNDS);
cmp_ok $changes, '>=', 10_000, "$changes changes";
is state_of($model), state_of($samples[-1][1]), 'the last moment is now';
right('whole', @samples[grep { $_ % 4 == 0 } 0 .. $#samples]);
intact();

my ($half, $late) = (int @samples / 2, int @samples * 3 / 4);
my $r = $pg->mailadmin({conf => $conf}, qw(audit prune --before),
    $samples[$half][0]);
is_deeply [@$r{qw(status out err)}], [0, '', ''], 'pruned';
right('pruned', @samples[grep { $_ % 6 == 0 || $_ == $half }
    $half .. $#samples]);
$r = $pg->mailadmin({conf => $conf}, qw(show user u1 --at),
    $samples[$half - 1][0]);
is $r->{status}, 66, 'what was before is not kept';
like $r->{err}, qr/begins at \Q$samples[$half][0]\E$/, 'and it says so';
intact();

my $last = @samples;
day(2);
is $pg->mailadmin({conf => $conf}, qw(audit prune --before),
    $samples[$late][0])->{status}, 0, 'pruned again';
right('pruned again', @samples[$late, grep { $_ % 6 == 0 || $_ >= $last }
    $late + 1 .. $#samples]);
intact();
is $pg->psql("SELECT count(*) FROM emailing_audit
    WHERE operation = 'baseline' AND xact <> (SELECT xact FROM emailing_audit
        WHERE operation = 'prune' ORDER BY id DESC LIMIT 1)"), 0,
    'of baselines the last one is kept';

done_testing;
